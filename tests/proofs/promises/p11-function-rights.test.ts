// @module-tag proof
import {
  type Arguments,
  argumentsAbout,
  argumentsBehind,
  type Callable,
  callablesOf,
  callOf,
} from "../../support/calls.ts";
import {
  attempt,
  callers,
  type CallerFixture,
  createCallerFixture,
  each,
  openApi,
  type Said,
} from "../../support/callers.ts";
import { applyMutant } from "../../support/mutants.ts";
import { calling, type Reach } from "./expected-rights.ts";
import { keep, type Tried } from "./promise.ts";
import { together, tryVariants, type Variant } from "./variants.ts";

const variants: Record<string, Variant> = {
  "functions dropped and made anew": {
    change: (db) => applyMutant(db, "functions-dropped-and-made-anew"),
    seen: /anon calls public\.adjust_tokens: inside|self calls tokenbook\.set_token_burn_order: may/,
  },
  "a caller compared with <>": {
    change: (db) => applyMutant(db, "caller-compared-with-not-equal"),
    seen: /nobody calls public\.grant_tokens: may/,
  },
  "a function that nobody declared": {
    change: (db) =>
      db.admin.query(
        "create function public.planted() returns integer language sql set search_path = pg_catalog, pg_temp return 1",
      ),
    seen: /public\.planted: not declared/,
  },
};

keep({
  id: "P11",
  promise: "Every caller can call the functions meant for it, about the users meant for it, and no others",
  trial:
    "Every function of the catalogue, called about a user by eight callers, with arguments made from its parameters, through SQL and through HTTP, in a project with the legacy default privileges and in one without; compared with tests/proofs/promises/expected-rights.ts",
  run: async (scale) => {
    const legacy = await tryIt(
      await createCallerFixture("legacy"),
      scale === "long" ? "all" : "what is public",
    );
    const closed = await tryIt(await createCallerFixture("closed"), scale === "long" ? "all" : "nothing");
    return together(legacy, closed);
  },
  control: {
    variant: Object.keys(variants).join("; "),
    run: () => tryVariants(variants, (fixture) => tryIt(fixture, "nothing")),
  },
});

/**
 * Tries every cell in one world, and closes it.
 *
 * @param throughApi what is tried through HTTP as well; what is internal is not even there for it
 */
async function tryIt(
  fixture: CallerFixture,
  throughApi: "all" | "what is public" | "nothing",
): Promise<Tried> {
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  let times = 0;
  const cell = (where: string, expected: string, found: string) => {
    times++;
    mix[found] = (mix[found] ?? 0) + 1;
    if (found !== expected) wrong.push(`${fixture.world}, ${where}: ${found}, not ${expected}`);
  };
  let [passed, answered] = [0, 0];
  try {
    const functions = await callablesOf(fixture.db);
    const expected = new Map(
      calling.flatMap(({ reach, functions: names }) => names.map((name) => [name, reach])),
    );
    for (const name of expected.keys()) {
      const found = functions.filter((one) => one.name === name).length;
      if (found !== 1) cell(name, "there", found === 0 ? "gone" : "there more than once");
    }
    for (const { name } of functions) if (!expected.has(name)) cell(name, "declared", "not declared");
    const declared = functions.filter(({ name }) => expected.has(name));

    for (const caller of callers) {
      await fixture.as(caller, async (client) => {
        for (const fn of declared) {
          const { sql, values } = callOf(fn, argumentsFor(fixture, fn, functions));
          const said = await attempt(client, sql, values);
          const found = reachOf(said);
          cell(`SQL, ${caller} calls ${fn.name}`, expected.get(fn.name)![caller], found);
          if (found === "may") passed++;
          if (!("code" in said)) answered++;
        }
      });
    }
    if (throughApi !== "nothing") {
      const api = await openApi(fixture);
      const asked = declared.filter(({ schema }) => throughApi === "all" || schema === "public");
      const calls = asked.flatMap((fn) => callers.map((caller) => ({ fn, caller })));
      await each(calls, 4, async ({ fn, caller }) => {
        const name = fn.name.slice(fn.schema.length + 1);
        const where = `HTTP, ${caller} calls ${fn.name}`;
        const init = {
          method: "POST",
          body: JSON.stringify(argumentsFor(fixture, fn, functions)),
          headers: { "content-profile": fn.schema } as Record<string, string>,
        };
        const { status, body } = await api.ask(caller, `rpc/${name}`, init);
        if (fn.schema === "tokenbook") {
          cell(where, "not there", status === 406 ? "not there" : `HTTP ${status}`);
          return;
        }
        const code = (body as { code?: string } | null)?.code;
        const found = [401, 403].includes(status) && code === "42501" ? "refused" : "may";
        cell(where, expected.get(fn.name)![caller] === "may" ? "may" : "refused", found);
        if (status >= 500) wrong.push(`${where}: HTTP ${status} ${JSON.stringify(body)}`);
      });
      await api.close();
    }
    // arguments that no function takes would show little of what it does with its caller
    if (answered < passed * 0.85)
      wrong.push(`proves little: of ${passed} calls only ${answered} were answered`);
    mix["answered through SQL"] = answered;
    mix[`functions, ${fixture.world}`] = functions.length;
    return { times, unit: "cells", mix, violations: wrong.length, examples: wrong };
  } finally {
    await fixture.close();
  }
}

function argumentsFor(fixture: CallerFixture, fn: Callable, functions: Callable[]): Arguments {
  const wrapper =
    fn.schema === "tokenbook" &&
    functions.find(({ name }) => name === fn.name.replace("tokenbook.", "public."));
  return wrapper ? argumentsBehind(fixture.user, fn, wrapper) : argumentsAbout(fixture.user, fn);
}

/**
 * How far the call got. A call that is stopped at the API has entered no function: an error that was
 * raised in one, and is not its own refusal, came from further inside.
 */
function reachOf(said: Said): Reach | "inside" {
  if (!("code" in said) || said.code !== "42501") return "may";
  if (said.message === "forbidden" || said.message === "not_authenticated") return "refused";
  return said.where === undefined ? "ungranted" : "inside";
}
