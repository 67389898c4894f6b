import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const ORDERS = ["fifo", "expiring_first"] as const;
type Order = (typeof ORDERS)[number];

const ask = async (where: Database, sql: string, ...values: unknown[]) =>
  (await where.admin.query(`select ${sql} as answer`, values)).rows[0].answer;
const choose = (where: Database, order: Order) => ask(where, "public.set_token_burn_order($1)", order);
const reconcile = (where: Database, user: string) =>
  ask(where, "public.reconcile_user_token_balance($1)", user);
const track = (where: Database, user: string, tokens: number) =>
  ask(
    where,
    "public.track_token_usage($1, 'chat_conversation', 'gpt-4', p_tokens_used => $2, p_metadata => jsonb_build_object('request_id', gen_random_uuid()))",
    user,
    tokens,
  );
/** Use that is recorded and was never deducted. */
const forget = (where: Database, user: string, tokens: number) =>
  where.admin.query(
    "insert into public.token_usage (user_id, action_type, model_used, tokens_used, metadata) values ($1, 'chat_conversation', 'gpt-4', $2, jsonb_build_object('request_id', gen_random_uuid()))",
    [user, tokens],
  );
const until = (moment: number) =>
  new Promise((resolve) => setTimeout(resolve, Math.max(0, moment - Date.now())));

/** For one user, and for the orders that were chosen. */
async function letADayPass(user: string): Promise<void> {
  await letTimePass(db, user, 1);
  await db.admin.query("update tokenbook.burn_orders set since = since - interval '24 hours'");
}

test("use that what expires first would have paid for runs out with it, though an older grant is there", async () => {
  const user = await createUser(db);
  await choose(db, "expiring_first");
  await ask(db, "public.grant_tokens($1, 1000, 'purchase')", user);
  const end = Date.now() + 3_600_000;
  await ask(db, "public.grant_tokens($1, 100, 'trial', $2::timestamptz)", user, new Date(end));
  await forget(db, user, 50);

  expect(await reconcile(db, user)).toMatchObject({ current_remaining: 1_100, remaining_difference: 50 });
  await letADayPass(user);
  const unbooked = await reconcile(db, user);
  await ask(db, "public.get_user_token_balance($1)", user);
  const booked = await reconcile(db, user);

  const right = {
    current_remaining: 1_000,
    expected_remaining: 1_000,
    remaining_difference: 0,
    findings: [],
  };
  expect([unbooked, booked]).toMatchObject([right, right]);
});

test("the order that was in force then decides, not the one that is now", async () => {
  const user = await createUser(db);
  await choose(db, "fifo");
  await ask(db, "public.grant_tokens($1, 1000, 'purchase')", user);
  const end = Date.now() + 3_600_000;
  await ask(db, "public.grant_tokens($1, 100, 'trial', $2::timestamptz)", user, new Date(end));
  await forget(db, user, 50);
  await choose(db, "expiring_first");
  await letADayPass(user);

  expect(await reconcile(db, user)).toMatchObject({ current_remaining: 1_000, remaining_difference: 50 });
});

test("a difference whose grant was spent sits in the one that was next then", async () => {
  const user = await createUser(db);
  await choose(db, "expiring_first");
  await ask(db, "public.grant_tokens($1, 1000, 'purchase')", user);
  const end = Date.now() + 600;
  await ask(db, "public.grant_tokens($1, 100, 'trial', $2::timestamptz)", user, new Date(end + 60_000));
  await ask(db, "public.grant_tokens($1, 60, 'trial', $2::timestamptz)", user, new Date(end));
  await forget(db, user, 50); // of the 60
  await track(db, user, 60); // so it sits in the 100, which was next
  await choose(db, "fifo");
  await track(db, user, 30); // of the 1000

  expect(await reconcile(db, user)).toMatchObject({ current_remaining: 1_070, remaining_difference: 50 });
  await db.admin.query(
    "select public.void_token_grant($1, b.id, 'test') from public.token_balances b where b.user_id = $1 and b.tokens_granted = 100",
    [user],
  );
  const { rows } = await db.admin.query(
    "select difference::int from public.replay_token_balances($1) where difference <> 0 or uncovered > 0",
    [user],
  );
  expect(rows, "the place that the 100 had is not that of a grant which ended when it was voided").toEqual(
    [],
  );
  expect(await reconcile(db, user)).toMatchObject({
    current_remaining: 970,
    remaining_difference: 0,
    findings: [],
  });
});

// -- random histories ---------------------------------------------------------------------------------

type Step = [kind: "grant" | "short" | "track" | "forget", tokens: number, priority: number];
interface Phase {
  order: Order;
  steps: Step[];
}
const phases = fc.array(
  fc.record({
    order: fc.constantFrom(...ORDERS),
    steps: fc.array(
      fc.tuple(
        fc.constantFrom("grant", "short", "short", "track", "track", "forget", "forget"),
        fc.integer({ min: 1, max: 300 }),
        fc.constantFrom(50, 50, 50, 10),
      ),
      { minLength: 2, maxLength: 5 },
    ),
  }),
  { minLength: 4, maxLength: 4 },
) as fc.Arbitrary<Phase[]>;

/**
 * Each life is lived twice: by a user whose forgotten use was recorded only, and by a twin for whom it was
 * deducted. What the first has more than the twin is what reconciliation has to say, and nothing else.
 */
async function twins(where: Database, seed: number, lives: number) {
  const all = fc.sample(phases, { numRuns: lives, seed });
  const orders = all[0]!.map(({ order }) => order); // of the project, so of everyone
  orders[1] = orders[0] === "fifo" ? "expiring_first" : "fifo"; // and so is one switch at least
  const pairs = await Promise.all(
    all.map(async () => [await createUser(where), await createUser(where)] as const),
  );
  for (const user of pairs.flat()) await ask(where, "public.grant_tokens($1, 50000, 'purchase')", user);
  let end = 0;
  for (let phase = 0; phase < 4; phase++) {
    await choose(where, orders[phase]!);
    if (phase % 2 === 0) end = Date.now() + 4_000; // what is short ends with the second and the fourth phase
    await Promise.all(
      all.map(async (life, i) => {
        const [user, twin] = pairs[i]!;
        for (const [kind, tokens, priority] of life[phase]!.steps) {
          for (const who of [user, twin]) {
            if (kind === "grant" || kind === "short")
              await ask(
                where,
                "public.grant_tokens($1, $2, 'trial', $3::timestamptz, $4)",
                who,
                tokens,
                new Date(kind === "short" ? end : end + 86_400_000 + tokens),
                priority,
              );
            if (kind === "track" || (kind === "forget" && who === twin)) await track(where, who, tokens);
            if (kind === "forget" && who === user) await forget(where, who, tokens);
          }
        }
      }),
    );
    if (phase % 2 === 1) {
      expect(Date.now(), "the machine was too slow for the short grants").toBeLessThan(end);
      await until(end + 10);
    }
  }
  let right = 0;
  let ranOut = 0;
  const wrong: unknown[] = [];
  for (const [user, twin] of pairs) {
    const [of, its] = [await reconcile(where, user), await reconcile(where, twin)];
    const off = of.current_remaining - its.current_remaining;
    if (off === 0) right++;
    const { rows } = await where.admin.query(
      "select coalesce(sum(tokens_used), 0)::int as forgotten from public.token_usage where user_id = $1 and transaction_id is null",
      [user],
    );
    if (off !== rows[0].forgotten) ranOut++;
    if (its.remaining_difference !== 0) wrong.push({ twin, says: its.remaining_difference });
    if (of.remaining_difference !== off || (off === 0 && of.findings.length > 0))
      wrong.push({ user, off, says: of.remaining_difference });
  }
  return { right, ranOut, wrong, orders };
}

test(
  "under both orders and switches between them: what is right is left alone, what is wrong is said by the token",
  { tags: ["proof"], timeout: 60_000 },
  async () => {
    const other = await createDatabase();
    const { right, ranOut, wrong, orders } = await twins(other, 20261126, 40);
    await expectCleanBooks(other);
    await other.drop();

    console.log(
      `twins: lives=40 orders=${orders.join(",")} right=${right} ran out in part=${ranOut} wrong=${wrong.length}`,
    );
    expect(wrong).toEqual([]);
    expect(ranOut).toBeGreaterThan(10);
  },
);

test(
  "the test sees it: a reconciliation that knows only fifo",
  { tags: ["proof"], timeout: 60_000 },
  async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "reconciliation-knows-only-fifo");
    const { wrong } = await twins(broken, 20261126, 40);
    await broken.drop();

    expect(wrong.length).toBeGreaterThan(0);
  },
);
