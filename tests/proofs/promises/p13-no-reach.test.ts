// @module-tag proof
import type { ClientBase } from "pg";
import {
  type Arguments,
  argumentsAbout,
  argumentsBehind,
  type Callable,
  callablesOf,
  callOf,
  type Parameter,
} from "../../support/calls.ts";
import {
  attempt,
  type Caller,
  type CallerFixture,
  createCallerFixture,
  type Said,
} from "../../support/callers.ts";
import { grant } from "../../support/books.ts";
import type { Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import type { PopulatedUser } from "../../support/populated-user.ts";
import { keep, type Tried } from "./promise.ts";
import { together, tryVariants, type Variant } from "./variants.ts";

const variants: Record<string, Variant> = {
  "a caller compared with <>": {
    change: (db) => applyMutant(db, "caller-compared-with-not-equal"),
    seen: /nobody calls public\.grant_tokens.*: changed/,
  },
  "a charge explained to anybody who knows its id": {
    change: (db) => applyMutant(db, "usage-explained-by-its-id-alone"),
    seen: /self calls public\.explain_token_charge.*p_usage_id.*: told/,
  },
  "a balance is anybody's": {
    change: (db) => applyMutant(db, "balance-asks-nobody"),
    seen: /self calls public\.get_user_token_balance.*: told/,
  },
};

keep({
  id: "P13",
  promise: "No user reaches another's books, whatever they pass",
  trial:
    "Every function, called by a user, a token without a subject and a former admin, with another user's ids (their own, their grant's, hold's, payment's, transaction's, key …) in every place that takes an id, a number, a text, an array, JSON or a row, one place at a time and all at once: nothing of the other's is in any answer or refusal, and no row of theirs is changed",
  run: async (scale) =>
    scale === "long"
      ? together(
          await tryIt(
            await createCallerFixture("legacy"),
            ["self", "nobody", "former admin", "anon", "stranger"],
            "all",
          ),
          await tryIt(await createCallerFixture("closed"), ["self", "nobody", "former admin"], "all"),
        )
      : await tryIt(await createCallerFixture("legacy"), ["self", "nobody"], "what is public"),
  control: {
    variant: Object.keys(variants).join("; "),
    run: () => tryVariants(variants, (fixture) => tryIt(fixture, ["self", "nobody"], "what is public")),
  },
});

/** Unlike any number that somebody else has. */
const riches = 987_654_000_000;

async function tryIt(
  fixture: CallerFixture,
  callers: Caller[],
  which: "all" | "what is public",
): Promise<Tried> {
  const { db, user, other } = fixture;
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  let times = 0;
  try {
    await grant(db, other.id, riches);
    const functions = await callablesOf(db);
    const victim = await victimOf(db, other);
    const called = functions.filter(({ schema }) => which === "all" || schema === "public");
    const client = await db.admin.connect();
    try {
      const before = await victim.digest(client);
      for (const caller of callers) {
        await client.query("begin");
        await client.query(
          "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
          [fixture.claims[caller].role, JSON.stringify(fixture.claims[caller])],
        );
        for (const fn of called) {
          for (const { args, what } of passedTo(fn, functions, user, other)) {
            times++;
            const { sql, values } = callOf(fn, args);
            let isChanged = false;
            const said = await attempt(client, sql, values, async () => {
              const { rows } = await client.query(
                "select pg_current_xact_id_if_assigned() is not null as wrote",
              );
              if (!rows[0].wrote) return;
              await client.query("set local role postgres");
              isChanged = (await victim.digest(client)) !== before;
            });
            const where = `${caller} calls ${fn.name} with ${what}`;
            const told = victim.bytesIn(said, values);
            if (isChanged) wrong.push(`${where}: changed`);
            if (told.length > 0) wrong.push(`${where}: told ${told.join(", ")}`);
            const answer = "code" in said ? `${said.code} ${slugOf(said.message)}` : "answered";
            mix[answer] = (mix[answer] ?? 0) + 1;
          }
        }
        await client.query("rollback");
      }
      if ((await victim.digest(client)) !== before) wrong.push("a row of the other's was changed");
    } finally {
      await client.query("rollback");
      client.release();
    }
    mix[`functions, ${fixture.world}`] = called.length;
    return { times, unit: "calls", mix, violations: wrong.length, examples: wrong };
  } finally {
    await fixture.close();
  }
}

interface Passed {
  args: Arguments;
  /** What of it is the other's. */
  what: string;
}

/** What a user can pass to reach another: a call about themself, with something of the other's in one place, and in all. */
function passedTo(fn: Callable, functions: Callable[], user: PopulatedUser, other: PopulatedUser): Passed[] {
  const wrapper =
    fn.schema === "tokenbook"
      ? functions.find(({ name }) => name === fn.name.replace("tokenbook.", "public."))
      : undefined;
  const about = (life: PopulatedUser) =>
    wrapper === undefined ? argumentsAbout(life, fn) : argumentsBehind(life, fn, wrapper);
  const own = about(user);
  const required = Object.fromEntries(
    fn.parameters
      .filter(({ name, isRequired }) => name in own && (isRequired || name === "p_user_id"))
      .map(({ name }) => [name, own[name]]),
  );
  const passed: Passed[] = [{ args: about(other), what: "the other's everywhere" }];
  // the caller's own id beside everything else of the other's, and no id at all
  for (const name of [user.id, undefined]) {
    const args = { ...about(other), ...(name !== undefined && { p_user_id: name }) };
    if (name === undefined) delete args["p_user_id"];
    if (
      fn.parameters.some(
        (parameter) => parameter.name === "p_user_id" && (name !== undefined || !parameter.isRequired),
      )
    )
      passed.push({
        args,
        what: `the other's everywhere, as ${name === undefined ? "nobody in particular" : "oneself"}`,
      });
  }
  for (const parameter of fn.parameters) {
    for (const [kind, value] of placedIn(parameter, own[parameter.name], user, other)) {
      const what = `${kind} as ${parameter.name}`;
      passed.push({ args: { ...own, [parameter.name]: value }, what });
      // some take one of two, and refuse both
      if (!parameter.isRequired)
        passed.push({ args: { ...required, [parameter.name]: value }, what: `${what} alone` });
    }
  }
  return passed;
}

/** What of the other's fits into a parameter. */
function placedIn(
  { type, columns }: Parameter,
  own: unknown,
  user: PopulatedUser,
  { id, member, mark, things }: PopulatedUser,
): [kind: string, value: unknown][] {
  const uuids: [string, string][] = [
    ["the other's id", id],
    ["the other's member", member],
    ["the other's grant", things.p_grant_id],
    ["the other's hold", things.p_hold_id],
    ["the other's payment", things.p_payment_id],
    ["the other's usage", things.p_usage_id],
    ["the other's request", things.p_request_id],
    ["the other's claim", things.p_claim_id],
  ];
  const texts: [string, string][] = [
    ["the other's key", things.p_idempotency_key],
    ["the other's provider's payment", things.p_provider_payment_id],
    ["the other's email", `${mark}@example.com`],
    ["the other's id", id],
  ];
  const numbers: [string, number][] = [
    ["the other's transaction", things.p_transaction_id],
    ["the other's delivery", things.p_delivery_id],
  ];
  if (type === "uuid") return uuids;
  if (type === "text") return texts;
  if (type === "bigint") return numbers;
  if (type === "uuid[]")
    return [
      ["the other's id", [id]],
      ["the other's id after the own", [user.id, id]],
    ];
  if (type === "jsonb") {
    const named = { user_id: id, p_user_id: id, member_id: member, ...things };
    return [
      ["an object of the other's", named],
      ["a list of the other's", [named, { user_id: id, tokens: 1 }]],
      ["the other's id", id],
    ];
  }
  if (columns !== null) {
    return columns.flatMap((column): [string, unknown][] => {
      const whole = own as Record<string, unknown>;
      const known = (things as Record<string, unknown>)[`p_${column}`];
      const values: [string, unknown][] = column === "id" || column === "usage_id" ? uuids : [];
      if (/(user|member|actor)_id$/.test(column)) values.push(["the other's id", id]);
      else if (known !== undefined) values.push(["the other's", known]);
      return values.map(([kind, value]) => [`${kind} in ${column}`, { ...whole, [column]: value }]);
    });
  }
  return [];
}

/** The user whom nothing may reach: their rows in the tables, and what would give them away in an answer. */
async function victimOf(db: Database, { id, mark, member }: PopulatedUser) {
  const { rows: columns } = await db.admin.query<{ relation: string; columns: string[] }>(`
    select c.oid::regclass::text as relation, array_agg(a.attname::text) as columns from pg_class c
      join pg_attribute a on a.attrelid = c.oid and not a.attisdropped and a.atttypid in ('uuid'::regtype, 'uuid[]'::regtype)
     where c.relnamespace in ('public'::regnamespace, 'tokenbook'::regnamespace) and c.relkind in ('r', 'p') and not c.relispartition
     group by c.oid`);
  const rowsOfTheOther = columns
    .map(
      ({ relation, columns: names }) =>
        `select to_jsonb(t)::text as row from ${relation} t where ${names.map((name) => `t.${name}::text like any ($1)`).join(" or ")}`,
    )
    .join(" union all ");
  const ids = new Set<string>([id, member]);
  const { rows } = await db.admin.query<{ row: string }>(rowsOfTheOther, [[`%${id}%`]]);
  for (const { row } of rows) for (const [uuid] of row.matchAll(uuids)) ids.add(uuid);
  const patterns = [...ids].map((uuid) => `%${uuid}%`);

  return {
    /** Of every row that has an id of theirs in it, no matter which user the row belongs to. */
    async digest(client: ClientBase): Promise<string> {
      const found = await client.query(
        `select count(*) || ' ' || md5(string_agg(row, '|' order by row)) as digest from (${rowsOfTheOther}) rows`,
        [patterns],
      );
      return found.rows[0].digest as string;
    },
    /** What of theirs is in an answer, but for what was in the question. */
    bytesIn(said: Said, values: unknown[]): string[] {
      const question = JSON.stringify(values);
      const answer =
        "code" in said ? [said.message, said.detail, said.hint].join(" ") : JSON.stringify(said.rows);
      const told = [...answer.matchAll(uuids)].map(([uuid]) => uuid).filter((uuid) => ids.has(uuid));
      if (answer.includes(mark)) told.push(mark);
      if (/\b98765[34]\d{6}\b/.test(answer)) told.push("the other's balance");
      return told.filter((one) => !question.includes(one));
    },
  };
}

const uuids = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** Our own words as they are, and those of Postgres without what they quote. */
function slugOf(message: string): string {
  return message.replace(/".*"|function \S+|schema \S+/g, "…");
}
