/** What a call answers, and does, in the moments that are not the usual ones. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { takeTheClock } from "../support/clock.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, createUser, rpc } from "../support/roles.ts";

// a test reads what it expects out of the answer
// oxlint-disable-next-line typescript/no-explicit-any
const call = (db: Database, name: string, args: Record<string, unknown>): Promise<any> =>
  asService(db, (client) => rpc(client, name, args));

/** What a user's calls under keys answer; then the same once they have joined a team, or left the one that they were in. */
async function asked(db: Database, happens: "joins" | "leaves"): Promise<unknown> {
  const [payer, member] = [await createUser(db), await createUser(db)];
  for (const user of [payer, member]) await grant(db, user, 1_000);
  const team = { p_user_id: payer, p_member_id: member };
  if (happens === "leaves") await call(db, "add_token_team_member", team);
  const ask = async () => [
    await call(db, "track_token_usage", {
      p_user_id: member,
      p_action_type: "chat_conversation",
      p_tokens_used: 5,
      p_idempotency_key: "track",
    }),
    await call(db, "reserve_tokens", { p_user_id: member, p_tokens: 7, p_idempotency_key: "reserve" }),
    await call(db, "deduct_tokens_with_fifo", {
      p_user_id: member,
      p_tokens_to_deduct: 1,
      p_idempotency_key: "deduct",
    }),
  ];
  const first = await ask();
  await call(db, happens === "joins" ? "add_token_team_member" : "remove_token_team_member", team);
  const again = await ask();
  return again.map(({ replayed, ...answer }, nth) => {
    const { replayed: _, ...was } = first[nth];
    return replayed && JSON.stringify(answer) === JSON.stringify(was) ? "the same" : answer;
  });
}

/** A clock that goes on by a millisecond whenever anybody reads it, so that something runs out between two readings. */
async function tickingClock(db: Database): Promise<(at: number) => Promise<void>> {
  const setClock = await takeTheClock(db, { stands: true });
  await db.admin.query(`
    create sequence tokenbook.test_ticks;
    grant usage on sequence tokenbook.test_ticks to public;
    create or replace function tokenbook.test_now() returns timestamptz language sql volatile security definer set search_path = pg_catalog, pg_temp
      as $$select c.stands_at + nextval('tokenbook.test_ticks') * interval '1 millisecond' from tokenbook.test_clock c$$`);
  return async (at) => {
    await setClock(new Date(at).toISOString());
    await db.admin.query("alter sequence tokenbook.test_ticks restart");
  };
}

const START = Date.UTC(2027, 0, 10, 10);
const END = START + 60_000;

/** How each of many calls ends, before which so many readings of the clock are left. */
async function atTheEnd(
  db: Database,
  begin: (user: string) => Promise<(() => Promise<{ success: boolean }>) | undefined>,
): Promise<string[]> {
  const setClock = await tickingClock(db);
  const outcomes = new Set<string>();
  for (let left = 0; left < 40; left++) {
    await setClock(START);
    const user = await createUser(db);
    const run = await begin(user);
    await setClock(END - left);
    outcomes.add(
      await run!().then(
        ({ success }) => (success ? "done" : "not done"),
        ({ message }) => message as string,
      ),
    );
    const { rows } = await db.admin.query(
      `select from public.token_transactions t
        where t.user_id = $1 and t.entry_type = 'deduction' and t.created_at >= $2`,
      [user, new Date(END)],
    );
    if (rows.length > 0) outcomes.add("late");
  }
  return [...outcomes].toSorted();
}

/** A rule, the variant that breaks it, what is done, and what is right. */
type Rule = [rule: string, mutant: string, attempt: (db: Database) => Promise<unknown>, right: unknown];
const rules: Rule[] = [
  [
    "a key answers what it did after its user has joined a team",
    "replays-look-in-todays-account",
    (db) => asked(db, "joins"),
    ["the same", "the same", "the same"],
  ],
  [
    "a key answers what it did after its user has left a team",
    "replays-look-in-todays-account",
    (db) => asked(db, "leaves"),
    ["the same", "the same", "the same"],
  ],
  [
    "a key answers what it did when the action has no cost any more",
    "prices-come-before-keys",
    async (db) => {
      const user = await createUser(db);
      await grant(db, user, 100);
      const cost = (p_cost: unknown) =>
        call(db, "set_token_action_cost", { p_action_type: "painting", p_cost, p_reason: "a test" });
      const track = () =>
        call(db, "track_token_usage", {
          p_user_id: user,
          p_action_type: "painting",
          p_idempotency_key: "one",
        }).then(
          ({ tokens_deducted, replayed }) => [tokens_deducted, replayed],
          ({ message }) => message,
        );
      await cost({ min_tokens: 5, max_tokens: 5 });
      const first = await track();
      await cost(null);
      return [first, await track()];
    },
    [
      [5, false],
      [5, true],
    ],
  ],
  [
    "what runs out while a deduction runs is not spent, and is no damage",
    "deductions-read-two-clocks",
    (db) =>
      atTheEnd(db, async (user) => {
        await grant(db, user, 100, { expires_at: new Date(END).toISOString() });
        return () => call(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 });
      }),
    ["done", "not done"],
  ],
  [
    "a hold that runs out while it is captured is not paid for",
    "captures-read-two-clocks",
    (db) =>
      atTheEnd(db, async (user) => {
        await grant(db, user, 100);
        const { hold_id, expires_at } = await call(db, "reserve_tokens", {
          p_user_id: user,
          p_tokens: 10,
          p_ttl_seconds: 60,
        });
        // it began some readings of the clock after the start
        await db.admin.query(
          "update public.token_accounts set next_due_at = $2 where user_id = $1 and next_due_at = $3",
          [user, new Date(END), expires_at],
        );
        await db.admin.query("update public.token_holds set expires_at = $2 where id = $1", [
          hold_id,
          new Date(END),
        ]);
        return () => call(db, "capture_tokens", { p_user_id: user, p_hold_id: hold_id });
      }),
    ["done", "not done"],
  ],
  [
    "a hold whose row is locked by another transaction stays as it is, and settling it answers busy",
    "locked-holds-are-settled",
    async (db) => {
      const user = await createUser(db);
      await grant(db, user, 100);
      const { hold_id } = await call(db, "reserve_tokens", { p_user_id: user, p_tokens: 10 });
      const editor = await db.admin.connect();
      await editor.query("begin");
      await editor.query("select from public.token_holds where id = $1 for update", [hold_id]);
      const settle = (name: string, more = {}) =>
        call(db, name, { p_user_id: user, p_hold_id: hold_id, ...more }).then(
          (answer) => (answer?.success ? "done" : (answer?.message ?? JSON.stringify(answer))),
          ({ message }) => message,
        );
      const locked = [
        await settle("release_tokens"),
        await settle("capture_tokens"),
        await settle("capture_tokens", { p_tokens: 6 }),
      ];
      await editor.query("rollback");
      editor.release();
      return [locked, await settle("capture_tokens", { p_tokens: 6 })];
    },
    [["busy", "busy", "busy"], "done"],
  ],
  ...["what-is-repaid-is-told-as-there", "retries-are-told-what-was-repaid"].map((mutant): Rule => [
    "tokens that repay a debt at once are not told as there, at first or again",
    mutant,
    async (db) => {
      const user = await createUser(db);
      const grantId = await grant(db, user, 100);
      await call(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 80 });
      await call(db, "void_token_grant", {
        p_user_id: user,
        p_grant_id: grantId,
        p_take_back: true,
        p_reason: "a test",
      });
      const give = (tokens: number) =>
        call(db, "grant_tokens", {
          p_user_id: user,
          p_tokens: tokens,
          p_grant_type: "purchase",
          p_idempotency_key: `${tokens}`,
        });
      const told = [];
      for (const tokens of [30, 60, 30, 60]) told.push((await give(tokens)).tokens_remaining);
      return told;
    },
    [0, 10, 0, 10],
  ]),
];

describe.each(rules)("%s", (_, mutant, attempt, right) => {
  let db: Database;
  beforeAll(async () => {
    db = await createDatabase();
  });
  afterAll(() => db.drop());

  test("is so", { timeout: 60_000 }, async () => {
    expect(await attempt(db)).toEqual(right);
    await expectCleanBooks(db);
  });

  test(`is seen to be broken by ${mutant}`, { tags: ["proof"], timeout: 60_000 }, async () => {
    const bad = await createDatabase();
    try {
      await applyMutant(bad, mutant);
      expect(await attempt(bad)).not.toEqual(right);
    } finally {
      await bad.drop();
    }
  });
});
