/*
 * A batch is the same as its items one by one: each sequence runs twice, on two sets of users who
 * have been given the same, once in batches and once in single calls.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { seed } from "../../support/dice.ts";
import { breaches, grant } from "../../support/books.ts";
import { createUser } from "../../support/roles.ts";
import { applyMutant } from "../../support/mutants.ts";

const USERS = 5;

/** Small numbers on purpose: users who come twice, keys used again and shortages must come up often. */
const anyone = fc.integer({ min: 0, max: USERS }); // the last one is nobody
const item = fc.oneof(
  fc.record({
    who: anyone,
    tokens: fc.integer({ min: 0, max: 40 }),
    key: fc.option(fc.integer({ min: 0, max: 4 }), { freq: 3 }),
    action: fc.constantFrom("chat_conversation", "audio_generation"),
  }),
  // the same request again
  fc.record({
    who: anyone,
    tokens: fc.constant(3),
    key: fc.integer({ min: 5, max: 6 }),
    action: fc.constant("chat_conversation"),
  }),
);
const scenarios = fc.record({
  grants: fc.array(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 4 }), {
    minLength: USERS,
    maxLength: USERS,
  }),
  /** Which users have something that runs out before the first batch. */
  due: fc.array(fc.boolean(), { minLength: USERS, maxLength: USERS }),
  batches: fc.array(fc.array(item, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 }),
});
type Scenario = typeof scenarios extends fc.Arbitrary<infer T> ? T : never;
type Item = Scenario["batches"][number][number];

/** A receipt, or the refusal of one item; read by the names of its fields. */
// oxlint-disable-next-line typescript/no-explicit-any
type Answer = Record<string, any>;

const nobody = "00000000-0000-4000-8000-00000000dead";

/** Users with these grants, and of each grant's id its place: ids differ between the two sets. */
async function usersWith(db: Database, scenario: Scenario) {
  const users: string[] = [];
  const places = new Map<string, string>();
  for (const [nth, grants] of scenario.grants.entries()) {
    const user = await createUser(db);
    users.push(user);
    if (scenario.due[nth]) {
      places.set(await grant(db, user, 25, { type: "trial" }), `${nth} due`);
      await runOut(db, user);
    }
    for (const [place, tokens] of grants.entries())
      places.set(await grant(db, user, tokens), `${nth} ${place}`);
  }
  return { users: [...users, nobody], places };
}

/** Makes a user's only grant one that has run out, which nobody has booked yet. */
async function runOut(db: Database, user: string) {
  await db.admin.query(
    `update public.token_balances
        set granted_at = granted_at - interval '1 day', expires_at = clock_timestamp() where user_id = $1`,
    [user],
  );
  await db.admin.query(
    `update public.token_accounts a set next_due_at = b.expires_at
       from public.token_balances b where a.user_id = $1 and b.user_id = a.user_id`,
    [user],
  );
}

/** A receipt or refusal without what differs between the two sets: ids and moments. */
function plain(answer: Answer, places: Map<string, string>) {
  const { index: _, ...rest } = answer;
  if (rest["error"]) return { refused: rest["error"].code };
  return {
    ...rest,
    deducted_from: rest["deducted_from"].map((part: { grant_id: string; deducted: number }) => [
      places.get(part.grant_id),
      part.deducted,
    ]),
  };
}

async function inBatch(db: Database, users: string[], batch: Item[]) {
  const items = batch.map(({ who, tokens, key, action }) => ({
    user_id: users[who],
    tokens,
    action_type: action,
    ...(key !== null && { idempotency_key: `key-${key}` }),
  }));
  const { rows } = await db.admin.query("select public.deduct_tokens_batch($1) as answer", [
    JSON.stringify(items),
  ]);
  return rows[0].answer.results as Answer[];
}

async function oneByOne(db: Database, users: string[], batch: Item[]) {
  const answers: Answer[] = [];
  for (const { who, tokens, key, action } of batch) {
    answers.push(
      await db.admin
        .query("select public.deduct_tokens_with_fifo($1, $2, $3, $4) as receipt", [
          users[who],
          tokens,
          action,
          key === null ? null : `key-${key}`,
        ])
        .then(({ rows }) => rows[0].receipt)
        .catch((error: { message: string }) => ({ error: { code: error.message } })),
    );
  }
  return answers;
}

async function follow(db: Database, scenario: Scenario, mix: Record<string, number>): Promise<void> {
  const [batched, single] = [await usersWith(db, scenario), await usersWith(db, scenario)];
  for (const batch of scenario.batches) {
    const answers = (await inBatch(db, batched.users, batch)).map((it) => plain(it, batched.places));
    const expected = (await oneByOne(db, single.users, batch)).map((it) => plain(it, single.places));
    expect(answers).toEqual(expected);
    for (const it of answers as Answer[]) {
      const outcome = it["refused"] ?? (it["replayed"] ? "replayed" : it["success"] ? "deducted" : "short");
      mix[outcome] = (mix[outcome] ?? 0) + 1;
    }
  }
  const { rows } = await db.admin.query(
    `select x.nth, a.tokens_remaining, a.tokens_used, a.tokens_expired, a.last_transaction_id
       from unnest($1::uuid[], $2::uuid[]) with ordinality as x (batched, single, nth)
       join public.token_accounts a on a.user_id = x.batched
      where (a.tokens_remaining, a.tokens_used, a.tokens_expired, a.last_transaction_id) is distinct from
            (select (b.tokens_remaining, b.tokens_used, b.tokens_expired, b.last_transaction_id)
               from public.token_accounts b where b.user_id = x.single)`,
    [batched.users.slice(0, -1), single.users.slice(0, -1)],
  );
  expect(rows).toEqual([]);
}

async function run(db: Database, title: string): Promise<void> {
  const mix: Record<string, number> = {};
  let runs = 0;
  await fc
    .assert(
      fc.asyncProperty(scenarios, async (scenario) => {
        runs++;
        await follow(db, scenario, mix);
      }),
      { seed, numRuns: 40, endOnFailure: true },
    )
    .finally(() => console.log(`${title}: scenarios=${runs} seed=${seed} mix=${JSON.stringify(mix)}`));
  expect(await breaches(db)).toEqual([]);
}

test(
  "batches answer and change what single deductions would",
  { tags: ["proof"], timeout: 120_000 },
  async () => {
    const db = await createDatabase();
    await run(db, "batches");
    await db.drop();
  },
);

test(
  "and so do batches of which every item takes the full path",
  { tags: ["proof"], timeout: 120_000 },
  async () => {
    const db = await createDatabase();
    await applyMutant(db, "batches-take-the-full-path"); // slow, but right
    await run(db, "the full path");
    await db.drop();
  },
);

test(
  "the test sees it: a batch that does not look at what is due differs",
  { tags: ["proof"], timeout: 120_000 },
  async () => {
    const db = await createDatabase();
    await applyMutant(db, "batch-does-not-look-at-what-is-due");

    const result = await fc.check(
      fc.asyncProperty(scenarios, async (scenario) => {
        await follow(db, scenario, {});
        expect(await breaches(db)).toEqual([]);
      }),
      { numRuns: 40, seed: 1, endOnFailure: true },
    );
    await db.drop();

    expect(result.failed).toBe(true);
  },
);
