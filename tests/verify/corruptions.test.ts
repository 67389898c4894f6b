import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { breaches, grant } from "../support/books.ts";
import { giveFreePlanAtRegistration } from "../support/plans.ts";
import { storm } from "../support/storm.ts";

let db: Database;
let users: string[];
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
  users = await Promise.all(Array.from({ length: 12 }, () => createUser(db)));
  for (const [i, user] of users.entries()) await live(user, i);
  // a fault of the functions, of a person or of a disk asks no constraint
  const { rows } = await db.admin.query(
    `select conrelid::regclass as relation, conname from pg_constraint
      where contype = 'c' and conrelid::regclass::text in ('token_accounts', 'token_balances', 'token_transactions', 'user_subscriptions')`,
  );
  for (const { relation, conname } of rows)
    await db.admin.query(`alter table ${relation} drop constraint ${conname}`);
  await db.admin.query("alter table public.token_transactions disable trigger all");
});
afterAll(() => db.drop());

/** A bit of everything: grants, use, a correction, an expiry, a payment that was refunded. */
async function live(user: string, i: number): Promise<void> {
  await grant(db, user, 500 + i, { type: "trial", expires_in: "150 milliseconds" });
  await grant(db, user, 1_000 * (i + 1));
  await db.admin.query("select public.deduct_tokens_with_fifo($1, $2, 'chat_conversation', 'k')", [
    user,
    10_000 + 200 + i,
  ]);
  await db.admin.query("select public.adjust_tokens($1, -7, 'correction')", [user]);
  await db.admin.query("select public.record_provider_event('stripe', $1, 'paid', $1, $2)", [
    `pi-${user}`,
    JSON.stringify({ kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900 }),
  ]);
  await new Promise((resolve) => setTimeout(resolve, 160));
  await db.admin.query("select public.get_user_token_balance($1)", [user]);
  if (i % 2 === 0) {
    await db.admin.query("select public.deduct_tokens_with_fifo($1, 350000)", [user]);
    await db.admin.query("select public.record_provider_event('stripe', $1, 'refunded', $2, $3)", [
      `re-${user}`,
      `pi-${user}`,
      JSON.stringify({ kind: "refunded", refunded_cents: 900 }),
    ]);
  }
}

const verify = (client: pg.ClientBase, user?: string) =>
  client.query("select * from public.verify_token_ledger($1)", [user ?? null]).then((result) => result.rows);

/** One field of one row made wrong, and the invariants any of which must be named for it. */
const CORRUPTIONS: [what: string, sql: string, named: RegExp][] = [
  [
    "an account's balance",
    "update public.token_accounts set tokens_remaining = tokens_remaining + $2 where user_id = $1",
    /^I2/,
  ],
  [
    "an account's reserve",
    "update public.token_accounts set tokens_reserved = tokens_reserved + $2 where user_id = $1",
    /^I3 ledger = account/,
  ],
  [
    "an account's use",
    "update public.token_accounts set tokens_used = tokens_used + $2 where user_id = $1",
    /^I3 tokens used/,
  ],
  [
    "an account's expired tokens",
    "update public.token_accounts set tokens_expired = tokens_expired + $2 where user_id = $1",
    /^I3 tokens expired/,
  ],
  [
    "what an account spent this month",
    "update public.token_accounts set spent_month = spent_month + $2 where user_id = $1",
    /^I3 spent in this day, week and month/,
  ],
  [
    "an account's debt",
    "update public.token_accounts set tokens_owed = tokens_owed + $2 where user_id = $1",
    /^I3 debt/,
  ],
  [
    "an account's last number",
    "update public.token_accounts set last_transaction_id = last_transaction_id + $2 where user_id = $1",
    /^I3 the account knows/,
  ],
  [
    "an account's due moment",
    "update public.token_accounts a set next_due_at = null from (select $2::bigint) n where user_id = $1 and next_due_at is not null",
    /^I7 the account is due/,
  ],
  [
    "a grant's balance",
    "update public.token_balances set tokens_remaining = tokens_remaining + $2 where user_id = $1 and id = (select id from public.token_balances where user_id = $1 order by id limit 1)",
    /^I4 a grant is/,
  ],
  [
    "a grant below zero",
    "update public.token_balances set tokens_remaining = -($2::bigint) where user_id = $1 and id = (select id from public.token_balances where user_id = $1 order by id limit 1)",
    /^I1 no overspend/,
  ],
  [
    "a grant's flag",
    "update public.token_balances set is_open = not is_open from (select $2::bigint) n where user_id = $1 and id = (select id from public.token_balances where user_id = $1 order by id limit 1)",
    /^I1 an open grant/,
  ],
  [
    "a grant's expiry",
    "update public.token_balances set expires_at = granted_at + $2 * interval '1 microsecond' where user_id = $1 and grant_type = 'plan' and payment_id is null",
    /^I7/,
  ],
  [
    "a transaction's tokens",
    "update public.token_transactions set tokens = tokens - $2 where user_id = $1 and id = 4",
    /^I4 allocations/,
  ],
  [
    "a transaction's balance",
    "update public.token_transactions set balance_after = balance_after + $2 where user_id = $1 and id = 3",
    /^I3 balance after/,
  ],
  [
    "a transaction's debt",
    "update public.token_transactions set debt_change = debt_change + $2 where user_id = $1 and id = 2",
    /^I3 debt/,
  ],
  [
    "an allocation's tokens",
    "update public.token_transactions set grant_tokens[1] = grant_tokens[1] + $2 where user_id = $1 and id = 4",
    /^I4 allocations/,
  ],
  [
    "an allocation's grant",
    "update public.token_transactions t set grant_ids[1] = gen_random_uuid() from (select $2::bigint) n where user_id = $1 and t.id = 3",
    /^I4 an allocation names/,
  ],
  [
    "a transaction's number",
    "update public.token_transactions set id = id + 100 + $2 where user_id = $1 and id = (select max(id) from public.token_transactions where user_id = $1)",
    /^I3 transactions are numbered/,
  ],
  [
    "a transaction taken away",
    "delete from public.token_transactions t using (select $2::bigint) n where user_id = $1 and t.id = 3",
    /^I3 transactions are numbered/,
  ],
  [
    "a grant taken away",
    "delete from public.token_balances b using (select $2::bigint) n where user_id = $1 and b.id = (select id from public.token_balances where user_id = $1 order by id limit 1)",
    /^I4 an allocation names/,
  ],
  [
    "an account taken away",
    "delete from public.token_accounts a using (select $2::bigint) n where user_id = $1",
    /^I[23] .*account/,
  ],
  [
    "an expiry booked too early",
    "update public.token_transactions set created_at = created_at - $2 * interval '1 day' where user_id = $1 and entry_type = 'expiry'",
    /^I7 an expiry/,
  ],
  [
    "the mark",
    "update public.user_subscriptions set tokens_limit = (select tokens_remaining - $2 from public.token_accounts where user_id = $1) where user_id = $1",
    /^I9/,
  ],
];

test("clean books have no breach, by this and by the tests' own sums", async () => {
  expect(await asService(db, (client) => verify(client))).toEqual([]);
  expect(await breaches(db)).toEqual([]);
});

test("every corruption of a single field is found, named right and blamed on the right user", async () => {
  const client = await db.admin.connect();
  let injected = 0;
  const missed: string[] = [];
  try {
    for (const [what, sql, named] of CORRUPTIONS) {
      for (const [i, user] of users.entries()) {
        await client.query("begin");
        const { rowCount } = await client.query(sql, [user, i + 1]);
        if (rowCount === 1) {
          injected++;
          const found = await verify(client);
          const right =
            found.some((row) => named.test(row.invariant)) && found.every((row) => row.user_id === user);
          if (!right)
            missed.push(`${what} of user ${i}: ${JSON.stringify(found.map((row) => row.invariant))}`);
          // a breach is found for its user alone, too
          expect((await verify(client, user)).length, what).toBe(found.length);
        }
        await client.query("rollback");
      }
    }
  } finally {
    client.release(true); // whatever state a failure left it in
  }

  console.log(
    `corruptions injected=${injected} kinds=${CORRUPTIONS.length} found and named right=${injected - missed.length}`,
  );
  expect(missed).toEqual([]);
  expect(injected).toBeGreaterThan(CORRUPTIONS.length * 8);
});

test("the test sees it: comparing sums alone misses what cancels out", async () => {
  const client = await db.admin.connect();
  await client.query("begin");
  await client.query(
    `update public.token_balances b set tokens_remaining = b.tokens_remaining + case nth when 1 then 5 else -5 end
       from (select id, row_number() over (order by id) nth from public.token_balances where user_id = $1 and is_open limit 2) two
      where b.user_id = $1 and b.id = two.id`,
    [users[1]],
  );
  const sums = await client.query(
    `select from public.token_accounts a
      where a.tokens_remaining <> (select sum(b.tokens_remaining) from public.token_balances b where b.user_id = a.user_id)`,
  );
  const found = await verify(client);
  await client.query("rollback");
  client.release();

  expect(sums.rowCount).toBe(0);
  expect(found.filter((row) => row.invariant === "I4 a grant is what its history left")).toHaveLength(2);
});

test("it raises no alarm while the books are being written", async () => {
  const busy = await createDatabase();
  const several = await Promise.all(Array.from({ length: 6 }, () => createUser(busy)));
  let alarms = 0;
  let runs = 0;

  const outcome = await storm(busy, {
    connections: 12,
    attempts: 2_000,
    run: async (client, attempt) => {
      const user = several[attempt % several.length];
      if (attempt % 20 === 0) {
        runs++;
        alarms += (await verify(client)).length;
        return "verified";
      }
      await client.query(
        attempt % 4 === 0
          ? "select public.grant_tokens($1, 40, 'purchase')"
          : "select public.deduct_tokens_with_fifo($1, 7)",
        [user],
      );
      return "booked";
    },
  });
  await busy.drop();

  console.log(`under load: runs=${runs} alarms=${alarms} mix=${JSON.stringify(outcome.mix)}`);
  expect({ runs, alarms }).toEqual({ runs: 100, alarms: 0 });
});

test("a large database is gone through in pieces", async () => {
  const ids = [...users].sort();
  const client = await db.admin.connect();
  await client.query("begin");
  await client.query(
    "update public.token_accounts set tokens_used = tokens_used + 1 where user_id = any ($1)",
    [[ids[1], ids[8]]],
  );

  const piece = async (after: string | null, until: string | null) =>
    (
      await client.query("select user_id from public.verify_token_ledger(null, $1, $2)", [after, until])
    ).rows.map((row) => row.user_id);
  const pieces = [await piece(null, ids[4]!), await piece(ids[4]!, ids[8]!), await piece(ids[8]!, null)];
  await client.query("rollback");
  client.release();

  expect(pieces).toEqual([[ids[1]], [ids[8]], []]);
});

test("only admins and the server may ask", async () => {
  const admin = await createUser(db, { admin: true });

  expect(await asAdmin(db, admin, (client) => verify(client))).toEqual([]);
  await expect(asUser(db, users[0]!, (client) => verify(client, users[0]!))).rejects.toMatchObject({
    code: "42501",
  });
  await expect(
    asUser(db, users[0]!, (client) => rpc(client, "get_user_token_balance")),
  ).resolves.toBeDefined();
});
