// @module-tag proof
/** The data API, from outside: rights, bodies, races and counts. `npm run test:against` runs it anywhere. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { errors, isSlug } from "../../supabase/functions/_shared/errors.ts";
import { calling, reading } from "../proofs/promises/expected-rights.ts";
import { bodies } from "./bodies.ts";
import { openTarget, type Answer, type Person, type Target } from "./target.ts";

let target: Target;
let user: Person;
let other: Person;
beforeAll(async () => {
  target = await openTarget();
  console.log(target.isForeign ? `against ${target.url}` : "against a stack of our own");
  [user, other] = [await target.user(), await target.user()];
  await give(user.id, 100);
}, 120_000);
afterAll(() => target.close());

async function give(userId: string, tokens: number): Promise<void> {
  const granted = await target.rpc("grant_tokens", {
    p_user_id: userId,
    p_tokens: tokens,
    p_reason: "npm run test:against",
  });
  expect(granted.status, granted.text).toBe(200);
}

async function balanceOf(userId: string): Promise<number> {
  const { body, text } = await target.rpc("get_user_token_balance", { p_user_id: userId });
  expect(body?.total_active, text).toBeTypeOf("number");
  return body.total_active as number;
}

const codeOf = ({ body }: Answer): string | undefined =>
  isSlug(String(body?.message)) ? body.message : body?.code;

/** Values for whatever a function wants; nobody is meant to get as far as what they say. */
const byFormat: Record<string, unknown> = {
  int64: 1,
  int32: 1,
  numeric: 1,
  boolean: true,
  jsonb: {},
  uuid: randomUUID(),
  "uuid[]": [],
  "text[]": [],
  "timestamp with time zone": "2026-01-01T00:00:00Z",
  text: "x",
};

interface Described {
  name: string;
  args: Record<string, unknown>;
}

/** The functions, as the project describes itself to the server (OpenAPI). */
async function functions(): Promise<Described[]> {
  const { body, status } = await target.ask("/rest/v1/", { as: target.server });
  expect(status).toBe(200);
  return Object.entries(body.paths as Record<string, { post?: { parameters?: { schema?: Schema }[] } }>)
    .filter(([path]) => path.startsWith("/rpc/"))
    .map(([path, { post }]) => {
      const schema = post?.parameters?.find((it) => it.schema)?.schema ?? {};
      const required = new Set(schema.required);
      const args = Object.entries(schema.properties ?? {})
        .filter(([name]) => required.has(name) || name === "p_user_id")
        .map(([name, { format }]) => [
          name,
          name === "p_user_id" ? user.id : (byFormat[format ?? ""] ?? "x"),
        ]);
      return { name: path.slice("/rpc/".length), args: Object.fromEntries(args) as Record<string, unknown> };
    });
}

interface Schema {
  required?: string[];
  properties?: Record<string, { format?: string }>;
}

test("nobody calls a function that they may not call, about whom they may not", async () => {
  const known = new Map((await functions()).map((it) => [it.name, it]));
  const callers = { anon: target.nobody, self: user.headers, other: other.headers };
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const cells = calling
    .flatMap(({ reach, functions: names }) => names.map((name) => ({ reach, name })))
    .filter(({ name }) => name.startsWith("public."))
    .flatMap(({ reach, name }) =>
      (Object.keys(callers) as (keyof typeof callers)[])
        .filter((who) => reach[who] !== "may")
        .map((who) => ({ who, name: name.slice("public.".length) })),
    );
  for (const { who, name } of cells) {
    const described = known.get(name);
    if (described === undefined) {
      wrong.push(`${name} is not there`);
      continue;
    }
    const answer = await target.ask(`/rest/v1/rpc/${name}`, { as: callers[who], body: described.args });
    mix[`${answer.status} ${answer.body?.code}`] = (mix[`${answer.status} ${answer.body?.code}`] ?? 0) + 1;
    if (![401, 403].includes(answer.status) || answer.body?.code !== "42501") {
      wrong.push(`${who} calls ${name}: ${answer.status} ${answer.text.slice(0, 100)}`);
    }
  }
  console.log(
    `functions that may not be called: ${cells.length} calls, ${JSON.stringify(mix)}, wrong=${wrong.length}`,
  );
  expect(wrong).toEqual([]);
  expect(cells.length).toBeGreaterThan(100);
});

test("everybody reads of each table what they are meant to, and nobody writes to any", async () => {
  const callers = { anon: target.nobody, self: user.headers, other: other.headers, server: target.server };
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const count = (what: string) => (mix[what] = (mix[what] ?? 0) + 1);
  // views of this repository's own project, and its app's table, are nowhere else
  const tables = reading.flatMap(({ sees, relations }) =>
    relations
      .filter((name) => name.startsWith("public.token_"))
      .map((name) => ({ sees, name: name.slice(7) })),
  );
  for (const { sees, name } of tables) {
    for (const who of Object.keys(callers) as (keyof typeof callers)[]) {
      const as = callers[who];
      const read = await target.ask(`/rest/v1/${name}?limit=1000`, { as });
      const rows =
        read.status === 200 ? (read.body as { user_id?: string | null; payer_id?: string }[]) : undefined;
      const isRefused = [401, 403].includes(read.status) && read.body?.code === "42501";
      count(`read: ${rows === undefined ? read.status : "let in"}`);
      const strange = (rows ?? []).filter(
        ({ user_id: id }) => id != null && id !== user.id && id !== other.id,
      );
      const own = who === "self" ? user.id : other.id;
      const ofOthers = (rows ?? []).filter(({ user_id: id }) => id != null && id !== own);
      if (sees[who] === "no" ? !isRefused : rows === undefined)
        wrong.push(`${who} reads ${name}: ${read.status}`);
      if (
        ["own", "none", "own, common", "common"].includes(sees[who]) &&
        (strange.length > 0 || ofOthers.length > 0)
      ) {
        wrong.push(`${who} reads rows of others in ${name}`);
      }
      for (const [method, query, body] of [
        ["POST", "", {}],
        ["PATCH", `?user_id=eq.${user.id}`, { user_id: user.id }],
        ["DELETE", `?user_id=eq.${user.id}`, undefined],
      ] as const) {
        const { status } = await target.ask(`/rest/v1/${name}${query}`, { method, as, body });
        count(`${method}: ${status}`);
        if (status < 400 || status >= 500) wrong.push(`${who}: ${method} ${name}: ${status}`);
      }
    }
  }
  console.log(`tables: ${tables.length}, ${JSON.stringify(mix)}, wrong=${wrong.length}`);
  expect(wrong).toEqual([]);
  expect(tables.length).toBeGreaterThan(15);
});

test.each(bodies)("$what: nothing is booked that was not plainly asked for", async (it) => {
  const { call = "deduct_tokens_with_fifo", method, query = "", type, body, says, spends } = it;
  const before = await balanceOf(user.id);
  const asked = query === "USER" ? `?p_user_id=${user.id}&p_tokens_to_deduct=1` : query;
  const answer = await target.ask(`/rest/v1/rpc/${call}${asked}`, {
    as: target.server,
    method: method ?? "POST",
    ...(body !== undefined && { body: body(user.id) }),
    ...(type !== undefined && { headers: { "content-type": type } }),
  });
  const spent = before - (await balanceOf(user.id));
  const found = `${answer.status} ${answer.status === 200 ? "" : codeOf(answer)}`.trim();
  console.log(`${it.what}: ${found}, spent ${spent}`);
  expect(spent, answer.text.slice(0, 300)).toBe(spends);
  const known = says.some(
    ([status, word]) => answer.status === status && (word === undefined || codeOf(answer) === word),
  );
  expect(known, `${found}: ${answer.text.slice(0, 300)}`).toBe(true);
  if (isSlug(String(answer.body?.message))) {
    expect(answer.body.code).toBe(errors[answer.body.message as keyof typeof errors].sqlstate);
  }
});

test("40 requests at a time never spend more than there is, and a key once", async () => {
  const rich = await target.user();
  await give(rich.id, 60);
  const before = await balanceOf(rich.id);
  const tries = 120;
  const spent: number[] = [];
  await Promise.all(
    Array.from({ length: 40 }, async (_, lane) => {
      for (let nth = lane; nth < tries; nth += 40) {
        const { body } = await target.rpc("deduct_tokens_with_fifo", {
          p_user_id: rich.id,
          p_tokens_to_deduct: 1,
          // each key three times
          p_action_type: "chat_conversation",
          p_idempotency_key: `against-${nth % 40}`,
        });
        if (body?.success === true && body.replayed !== true) spent.push(body.tokens_deducted as number);
      }
    }),
  );
  const left = await balanceOf(rich.id);
  console.log(`races: ${tries} requests under 40 keys: spent ${spent.length}, left ${left} of ${before}`);
  expect([spent.length, before - left]).toEqual([40, 40]);
});

test("another's rows are counted for nobody, but by the planner's guess", async () => {
  for (const [name, prefer] of [
    ["token_transactions", "count=exact"],
    ["token_balances", "count=exact"],
    ["token_accounts", "count=estimated"],
  ] as const) {
    const path = `/rest/v1/${name}?user_id=eq.${user.id}`;
    const theirs = await target.ask(path, { as: other.headers, headers: { prefer } });
    const own = await target.ask(path, { as: user.headers, headers: { prefer } });
    expect([name, theirs.body, theirs.headers.get("content-range")]).toEqual([name, [], "*/0"]);
    expect(own.body.length).toBeGreaterThan(0);
  }
});
