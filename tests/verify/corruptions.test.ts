import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { breaches } from "../support/books.ts";
import { giveFreePlanAtRegistration } from "../support/plans.ts";
import { storm } from "../support/storm.ts";
import { fields, inPart, type Corruption } from "./fields.ts";
import { createUserOfBefore, live } from "./lives.ts";

let db: Database;
let users: string[];
beforeAll(async () => {
  db = await createDatabase();
  await db.admin.query(
    `insert into public.ai_model_prices (model, input_cents_per_million, output_cents_per_million) values ('small', 15, 60)`,
  );
  const admin = await createUser(db, { admin: true });
  const ofBefore = await Promise.all(Array.from({ length: 4 }, () => createUserOfBefore(db)));
  await giveFreePlanAtRegistration(db);
  users = [...ofBefore, ...(await Promise.all(Array.from({ length: 8 }, () => createUser(db))))];
  await Promise.all(users.map((user, n) => live(db, user, admin, n)));

  // a fault of the functions, of a person or of a disk asks no constraint
  const tables = Object.keys(fields);
  const { rows } = await db.admin.query<{ statement: string }>(
    `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as statement
       from pg_constraint where contype = 'c' and conrelid::regclass::text = any ($1)
     union all
     select format('alter table %s alter %I drop not null', attrelid::regclass, attname)
       from pg_attribute
      where attrelid::regclass::text = any ($1) and attnum > 0 and attnotnull
        and not exists (select from pg_constraint where contype = 'p' and conrelid = attrelid and attnum = any (conkey))
     union all
     select format('drop index public.%s', indexname) from pg_indexes
      where schemaname = 'public' and tablename = any ($1) and indexdef like 'CREATE UNIQUE%' and indexname not like '%pkey'
     union all
     select 'alter table public.token_transactions disable trigger all'`,
    [tables],
  );
  for (const { statement } of rows) await db.admin.query(statement);
});
afterAll(() => db.drop());

interface Breach {
  invariant: string;
  user_id: string;
}

const verify = async (client: pg.ClientBase, user?: string) =>
  (await client.query<Breach>("select * from public.verify_token_ledger($1)", [user ?? null])).rows;

/** The control: what comparing sums sees. */
const sumsDiffer = async (client: pg.ClientBase) =>
  (
    await client.query(
      `select from public.token_accounts a
        where a.tokens_remaining <> (select coalesce(sum(b.tokens_remaining), 0) from public.token_balances b where b.user_id = a.user_id)
           or a.tokens_remaining + a.tokens_reserved <> (select coalesce(sum(t.tokens), 0) from public.token_transactions t where t.user_id = a.user_id)`,
    )
  ).rowCount! > 0;

test("clean books have no breach, by this and by the tests' own sums, and have all kinds of entries", async () => {
  expect(await asService(db, (client) => verify(client))).toEqual([]);
  expect(await breaches(db)).toEqual([]);
  const { rows } = await db.admin.query("select distinct entry_type from public.token_transactions");
  expect(rows.map((row) => row.entry_type).sort()).toEqual([
    ...["clawback", "debt_repayment", "deduction", "expiry", "grant", "hold", "opening_balance", "refund"],
    ...["release", "restoration", "usage", "void"],
  ]);
});

test("each column of the books is in the list: with what finds it, or why nothing does", async () => {
  const { rows } = await db.admin.query<{ table: string; column: string }>(
    `select table_name as table, column_name as column from information_schema.columns
      where table_schema = 'public' and table_name = any ($1)`,
    [Object.keys(fields).filter((table) => !inPart.includes(table))],
  );
  const listed = Object.entries(fields)
    .filter(([table]) => !inPart.includes(table))
    .flatMap(([table, columns]) => Object.keys(columns).map((column) => `${table}.${column}`));

  const all = Object.values(fields).flatMap((columns) => Object.values(columns));
  console.log(
    `columns=${all.length} found=${all.filter(({ found }) => found.length > 0).length} in part or not=${all.filter((it) => it.unseen).length}`,
  );
  expect(rows.map(({ table, column }) => `${table}.${column}`).sort()).toEqual(listed.sort());
  for (const { found, unseen } of all) expect(found.length > 0 || unseen !== undefined).toBe(true);
});

interface Injection {
  what: string;
  table: string;
  column: string;
  way: Corruption;
  /** The row: where it is, and whose. */
  at: string;
  user: string;
  n: number;
}

test("1,000 and more corruptions of a single field are found, named right and blamed on the right user", async () => {
  const rowsEach = 7;
  const nowhere: string[] = [];
  const injections: Injection[] = [];
  for (const [table, columns] of Object.entries(fields)) {
    for (const [column, { found }] of Object.entries(columns)) {
      for (const way of found) {
        const what = `${table}.${column} to ${way.to}`;
        const sites = await db.admin.query<{ at: string; user: string }>(
          `select x.ctid::text as at, x.user_id as user from public.${table} x
            where ${way.where ?? "true"} order by md5(x.user_id::text || x.ctid::text) limit ${rowsEach}`,
        );
        if (sites.rows.length === 0) nowhere.push(what);
        injections.push(...sites.rows.map((site, i) => ({ what, table, column, way, ...site, n: i + 1 })));
      }
    }
  }

  let bySums = 0;
  const missed: string[] = [];
  /** Each in a transaction that is rolled back: others never see it, nor the next one. */
  const inject = async (client: pg.ClientBase, { what, table, column, way, at, user, n }: Injection) => {
    await client.query("begin");
    const changed = await client.query<{ user: string }>(
      `with n as (select $2::integer as n)
       update public.${table} x set ${column} = ${way.to.replaceAll("$2", "n.n")} from n
        where x.ctid = $1::tid returning x.user_id as user`,
      [at, n],
    );
    const breached = await verify(client);
    if (await sumsDiffer(client)) bySums++;
    // a row that is moved to another user is a breach of both users' books
    const blamed = new Set([user, changed.rows[0]!.user]);
    if (
      !breached.some((row) => way.named.test(row.invariant)) ||
      !breached.every((row) => blamed.has(row.user_id))
    ) {
      missed.push(`${what}: ${JSON.stringify(breached.map((row) => row.invariant))}`);
    }
    // a breach is found for its user alone, too
    if (n === 1) {
      const own = breached.filter((row) => row.user_id === user).map((row) => row.invariant);
      const alone = (await verify(client, user)).map((row) => row.invariant);
      expect(alone.sort(), what).toEqual(own.sort());
    }
    await client.query("rollback");
  };

  const queue = [...injections];
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      const client = await db.admin.connect();
      try {
        // planning is most of it, and once is enough
        await client.query("set plan_cache_mode = force_generic_plan; set jit = off");
        for (let next = queue.pop(); next !== undefined; next = queue.pop()) await inject(client, next);
      } finally {
        client.release(true); // whatever state a failure left it in
      }
    }),
  );

  console.log(
    `corruptions injected=${injections.length} found and named right=${injections.length - missed.length}; control, sums only: found=${bySums}`,
  );
  expect(nowhere).toEqual([]);
  expect(missed).toEqual([]);
  expect(injections.length).toBeGreaterThanOrEqual(1_000);
  expect(bySums).toBeLessThan(injections.length / 2);
}, 120_000);

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
])("%s that was taken away is missed", async (what, table, where, named) => {
  const client = await db.admin.connect();
  await client.query("begin");
  let found = 0;
  for (const user of users) {
    await client.query("savepoint before");
    await client.query(
      `delete from public.${table} x where x.ctid = (
         select x.ctid from public.${table} x where x.user_id = $1 and ${where} limit 1)`,
      [user],
    );
    const breached = await verify(client);
    if (breached.some((row) => named.test(row.invariant) && row.user_id === user)) found++;
    await client.query("rollback to before");
  }
  client.release(true);

  console.log(`${what} taken away: ${users.length}, found=${found}`);
  expect(found).toBe(users.length);
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
  const bySums = await sumsDiffer(client);
  const found = await verify(client);
  client.release(true);

  expect(bySums).toBe(false);
  expect(found.filter((row) => row.invariant === "I4 a grant is what its history left")).toHaveLength(2);
});

test("it raises no alarm while the books are being written", async () => {
  const busy = await createDatabase();
  const several = await Promise.all(Array.from({ length: 6 }, () => createUser(busy)));
  let alarms = 0;
  let runs = 0;

  const calls = [
    "select public.grant_tokens($1, 40, 'purchase')",
    "select public.grant_tokens($1, 15, 'trial', clock_timestamp() + interval '1 second')",
    "select public.deduct_tokens_with_fifo($1, 7)",
    "select public.track_token_usage($1, 'chat_conversation', null, null, null, 9, true, null, 'partial')",
    "select public.track_token_usage($1, 'chat_conversation', null, null, null, 9, false)",
    "select public.adjust_tokens($1, -1, 'correction')",
    "select public.get_user_token_balance($1)",
  ];
  const outcome = await storm(busy, {
    connections: 12,
    attempts: 1_500,
    run: async (client, attempt) => {
      const user = several[attempt % several.length];
      if (attempt % 15 === 0) {
        runs++;
        alarms += (await verify(client)).length;
        return "verified";
      }
      await client.query(calls[attempt % calls.length]!, [user]);
      return "booked";
    },
  });
  await busy.drop();

  console.log(`under load: runs=${runs} alarms=${alarms} mix=${JSON.stringify(outcome.mix)}`);
  expect({ runs, alarms, mix: outcome.mix }).toEqual({
    runs: 100,
    alarms: 0,
    mix: { booked: 1_400, verified: 100 },
  });
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
