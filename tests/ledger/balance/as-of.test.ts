import { afterAll, beforeAll, expect, test } from "vitest";
import { oldUser } from "../../audit/replay/old-user.ts";
import { grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const asOf = (user: string, at: string | null) =>
  asService(db, (client) => rpc(client, "get_token_balance_as_of", { p_user_id: user, p_at: at }));

/** A moment of the database, exact to the microsecond, with an interval added. */
async function moment(add = "0"): Promise<string> {
  const { rows } = await db.admin.query("select (clock_timestamp() + $1::interval)::text as at", [add]);
  return rows[0].at;
}

test("the balance before and after each change can be had later", async () => {
  const user = await createUser(db);
  const before = await moment();
  const id = await grant(db, user, 1_000);
  const granted = await moment();
  await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 300 }),
  );
  const spent = await moment();

  expect(await asOf(user, before)).toEqual({
    user_id: user,
    at: expect.any(String),
    total_active: 0,
    total_expired: 0,
    total_reserved: 0,
    total_owed: 0,
    next_expiry: null,
    grants: [],
    has_more_grants: false,
  });
  expect(await asOf(user, granted)).toMatchObject({
    total_active: 1_000,
    grants: [
      { id, grant_type: "purchase", tokens_granted: 1_000, tokens_remaining: 1_000, expires_at: null },
    ],
  });
  expect(await asOf(user, spent)).toMatchObject({
    total_active: 700,
    grants: [{ id, tokens_remaining: 700 }],
  });
});

test("a grant counts until the instant at which it runs out, booked or not", async () => {
  const user = await createUser(db);
  await grant(db, user, 100, { expires_in: "0.2 seconds" });
  const { rows } = await db.admin.query(
    `select (expires_at - interval '1 microsecond')::text as last, expires_at::text as over,
            pg_sleep(0.25) is null as slept from public.token_balances where user_id = $1`,
    [user],
  );
  const { last, over } = rows[0];

  for (const booked of [false, true]) {
    expect(await asOf(user, last), `booked: ${booked}`).toMatchObject({
      total_active: 100,
      total_expired: 0,
    });
    expect(await asOf(user, over), `booked: ${booked}`).toMatchObject({
      total_active: 0,
      total_expired: 100,
      grants: [],
    });
    await db.admin.query("select public.expire_old_token_grants()");
  }
});

test("before the books opened there is no balance to be had; at that instant there is", async () => {
  const { user } = await oldUser(db, { grants: [{ tokens: 100, granted: "10 days" }], opened: "1 day" });
  const { rows } = await db.admin.query(
    `select created_at::text as at, (created_at - interval '1 microsecond')::text as before
       from public.token_transactions where user_id = $1`,
    [user],
  );

  await expect(asOf(user, rows[0].before)).rejects.toMatchObject({
    code: "PT404",
    message: "before_the_books",
    detail: expect.stringMatching(/^\{"opened_at": "\d{4}-.*"\}$/),
  });
  expect(await asOf(user, rows[0].at)).toMatchObject({ total_active: 100 });
});

test.each([
  ["no moment", null] as const,
  ["the future", "1 minute"] as const,
  ["infinity", "infinity"] as const,
])("%s is refused", async (_, add) => {
  const user = await createUser(db);
  const at = add === null || add === "infinity" ? add : await moment(add);

  await expect(asOf(user, at)).rejects.toMatchObject({ code: "PT400", message: "invalid_moment" });
});

test("a user sees their own past, an admin anyone's, a stranger nobody's", async () => {
  const [alice, bob, admin] = [
    await createUser(db),
    await createUser(db),
    await createUser(db, { admin: true }),
  ];
  await grant(db, alice, 10);
  const at = await moment();

  expect(
    await asUser(db, alice, (client) => rpc(client, "get_token_balance_as_of", { p_at: at })),
  ).toMatchObject({
    user_id: alice,
    total_active: 10,
  });
  const about = { p_user_id: alice, p_at: at };
  expect(await asAdmin(db, admin, (client) => rpc(client, "get_token_balance_as_of", about))).toMatchObject({
    total_active: 10,
  });
  await expect(
    asUser(db, bob, (client) => rpc(client, "get_token_balance_as_of", about)),
  ).rejects.toMatchObject({ code: "42501", message: "forbidden" });
  await expect(asAnon(db, (client) => rpc(client, "get_token_balance_as_of", about))).rejects.toMatchObject({
    code: "42501",
  });
});

test("the grants are listed in the order that was in force then", async () => {
  const user = await createUser(db);
  const late = await grant(db, user, 10, { expires_in: "2 days" });
  const soon = await grant(db, user, 20, { expires_in: "1 day" });
  const fifo = await moment();
  await asService(db, (client) => rpc(client, "set_token_burn_order", { p_burn_order: "expiring_first" }));
  const expiringFirst = await moment();
  await asService(db, (client) => rpc(client, "set_token_burn_order", { p_burn_order: "fifo" }));

  const listed = async (at: string) => (await asOf(user, at)).grants.map((one: { id: string }) => one.id);
  expect(await listed(fifo)).toEqual([late, soon]);
  expect(await listed(expiringFirst)).toEqual([soon, late]);
  expect(await listed(await moment())).toEqual([late, soon]);
});

test("a hundred grants are listed, of more it is said that there are more", async () => {
  const user = await createUser(db);
  for (let n = 0; n < 101; n++) await grant(db, user, 1);

  const balance = await asOf(user, await moment());

  expect(balance).toMatchObject({ total_active: 101, has_more_grants: true });
  expect(balance.grants).toHaveLength(100);
});

test("a ledger of 20,000 entries is gone through in a moment", async () => {
  const user = await createUser(db);
  await db.admin.query(
    `with made as (
       insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, created_at)
       values ($1, 'purchase', 100000, 80001, now() - interval '30 days', now() - interval '30 days') returning id
     ), account as (
       insert into public.token_accounts (user_id, tokens_remaining, tokens_used, last_transaction_id) values ($1, 80001, 19999, 20000)
     )
     insert into public.token_transactions
       (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, created_at)
     select $1, n, case n when 1 then 'grant' else 'deduction' end, case n when 1 then 'token_pack_purchase' else 'chat_conversation' end,
            case n when 1 then 100000 else -1 end, 100001 - n, array[made.id], array[case n when 1 then 100000 else 1 end],
            'x', 'service', now() - interval '30 days' + n * interval '1 minute'
       from made, generate_series(1, 20000) n`,
    [user],
  );
  const at = await moment("-29 days");

  const begin = performance.now();
  const balance = await asOf(user, at);
  const ms = Math.round(performance.now() - begin);

  console.log(`as of: entries=20000 ms=${ms} total_active=${balance.total_active}`);
  expect(balance.total_active).toBe(100_000 - 1_439);
  expect(ms).toBeLessThan(1_000);
});
