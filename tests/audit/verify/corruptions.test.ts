import { afterAll, beforeAll, expect, test } from "vitest";
import type { Database } from "../../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { breaches } from "../../support/books.ts";
import { booksToCorrupt, injectionsFor, verify } from "./books-to-corrupt.ts";
import { fields, notTheBooks, qualified } from "./fields.ts";

let db: Database;
let users: string[];
beforeAll(async () => {
  ({ db, users } = await booksToCorrupt());
});
afterAll(() => db.drop());

test("clean books have no breach, by this and by the tests' own sums, and have all kinds of entries", async () => {
  expect(await asService(db, (client) => verify(client))).toEqual([]);
  expect(await breaches(db)).toEqual([]);
  const { rows } = await db.admin.query("select distinct entry_type from public.token_transactions");
  expect(rows.map((row) => row.entry_type).sort()).toEqual([
    "clawback",
    "debt_repayment",
    "deduction",
    "expiry",
    "grant",
    "hold",
    "opening_balance",
    "refund",
    "release",
    "restatement",
    "restoration",
    "rollover",
    "usage",
    "void",
  ]);
});

test("each column of the books is in the list: with what finds it, or why nothing does", async () => {
  const { rows } = await db.admin.query<{ table: string; column: string }>(
    `select format('%s.%s', table_schema, table_name) as table, column_name as column
       from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
      where t.table_type = 'BASE TABLE' and not (select k.relispartition from pg_class k where k.oid = format('%I.%I', table_schema, table_name)::regclass) and (table_schema = 'tokenbook' or (table_schema = 'public' and table_name like 'token%'))`,
  );
  const listed = Object.entries(fields).flatMap(([table, columns]) =>
    Object.keys(columns).map((column) => `${qualified(table)}.${column}`),
  );

  const all = Object.values(fields).flatMap((columns) => Object.values(columns));
  console.log(
    `tables=${Object.keys(fields).length} columns=${all.length} found=${all.filter(({ found }) => found.length > 0).length} in part or not=${all.filter(({ free }) => free.length > 0).length}`,
  );
  expect(
    rows
      .filter(({ table }) => notTheBooks[table] === undefined)
      .map(({ table, column }) => `${table}.${column}`)
      .sort(),
  ).toEqual(listed.sort());
  expect(Object.keys(notTheBooks).filter((table) => !rows.some((row) => row.table === table))).toEqual([]);
  expect((await injectionsFor(db, 1)).nowhere).toEqual([]);
});

test.each([
  ["a transaction", "token_transactions", "x.id > 1", /^I3 transactions are numbered|^I3 the account knows/],
  [
    "a grant",
    "token_balances",
    "exists (select from public.token_transactions t where t.user_id = x.user_id and x.id = any (t.grant_ids))",
    /^I4 an allocation names a grant$/,
  ],
  ["an account", "token_accounts", "true", /^I[23] .*account/],
  ["a usage", "token_usage", "x.transaction_id is not null", /^I4 a transaction for a usage has it$/],
  ["a hold", "token_holds", "true", /^I3 reserved = open holds$|^I4 an entry of a hold is like it$/],
  [
    "a payment",
    "token_payments",
    "x.status in ('approved', 'refunded')",
    /^I12 a payment is what its entry says$/,
  ],
  [
    "a subscription",
    "tokenbook.subscriptions",
    "exists (select from public.token_transactions t where t.user_id = x.user_id and t.terms ? 'subscription')",
    /^I9 a subscription is what its newest entry says$/,
  ],
  ["a plan's storage", "token_storage_quotas", "x.metadata ? 'plan'", /^I9 storage is what its plan gave$/],
])("%s that was taken away is missed", async (what, table, where, named) => {
  const client = await db.admin.connect();
  await client.query("begin");
  let [taken, found] = [0, 0];
  for (const user of users) {
    if (taken === 12) break;
    await client.query("savepoint before");
    const { rowCount } = await client.query(
      `delete from ${qualified(table)} x where x.ctid = (
         select x.ctid from ${qualified(table)} x where x.user_id = $1 and ${where} limit 1)`,
      [user],
    );
    if (rowCount === 1) {
      taken++;
      const breached = await verify(client);
      if (breached.some((row) => named.test(row.invariant) && row.user_id === user)) found++;
    }
    await client.query("rollback to before");
  }
  client.release(true);

  console.log(`${what} taken away: ${taken}, found=${found}`);
  expect([taken > 0, found]).toEqual([true, taken]);
});

test.each([true, false])(
  "settings that contradict the chosen burn order are named (expiring first: %s)",
  async (is) => {
    const client = await db.admin.connect();
    await client.query("begin");
    if (!is) await client.query("insert into tokenbook.burn_orders (burn_order) values ('expiring_first')");
    await client.query("update tokenbook.project_settings set is_expiring_first = $1 where is_current", [is]);
    const found = await verify(client);
    const { rows: ofOne } = await client.query("select * from public.verify_token_ledger($1)", [users[0]]);
    client.release(true);

    expect(found).toMatchObject([
      {
        invariant: "I8 the settings say the burn order that was chosen",
        user_id: null,
        expected: is ? "fifo" : "expiring_first",
        found: is ? "expiring_first" : "fifo",
      },
    ]);
    expect(ofOne).toEqual([]);
  },
);

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
  client.release(true);

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
