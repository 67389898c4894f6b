// @module-tag proof
/**
 * list_token_users with 100,000 users reads what is there once, whatever is asked; the plan is shown. What it takes is
 * measured by `npm run bench:console`.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { pagesTouched } from "../support/pages.ts";
import { asService } from "../support/roles.ts";

const many = 100_000;

let db: Database;
/** The pages of both tables, without their indexes. */
let whole: number;
/** Once over both tables, and what a page of the list has to look up of each of its users. */
const most = () => whole + 4_000;
beforeAll(async () => {
  db = await createDatabase();
  // as many rows as there would be, without the calls that make them: what is read is the same
  await db.admin.query("begin");
  await db.admin.query("set local session_replication_role = replica");
  await db.admin.query(
    `insert into auth.users (id, aud, role, email)
     select gen_random_uuid(), 'authenticated', 'authenticated', 'user' || n || '@customers-' || n % 1000 || '.example'
       from generate_series(1, $1::int) n`,
    [many],
  );
  await db.admin.query(
    `insert into public.token_accounts (user_id, tokens_remaining, tokens_used, spent_at)
     select u.id, (random() * 100000)::bigint, (random() * 1000000)::bigint, now() - random() * interval '90 days'
       from auth.users u`,
  );
  await db.admin.query("commit");
  await db.admin.query("vacuum analyze auth.users, public.token_accounts");
  const { rows } = await db.admin.query(
    "select sum(relpages)::int as pages from pg_class where oid in ('auth.users'::regclass, 'public.token_accounts'::regclass)",
  );
  whole = rows[0].pages;
});
afterAll(() => db.drop());

/** How many pages of tables and indexes a call touches, and how many users it answers with. */
async function cost(args: string): Promise<{ pages: number; users: number }> {
  return await asService(db, async (client) => {
    const call = `select public.list_token_users(${args}) as page`;
    const { users } = (await client.query(call)).rows[0].page;
    return { pages: await pagesTouched(client, call), users: users.length };
  });
}

describe(`${many} users`, () => {
  test.each([
    ["the first page", ""],
    ["by balance", "p_sort => 'balance'"],
    ["by use, the least first", "p_sort => 'used', p_descending => false"],
    ["by address", "p_sort => 'email', p_descending => false"],
    ["a part of an address", "p_search => '@customers-77.'"],
    ["a page in the middle", `p_sort => 'balance', p_after => '50000 ffffffff-ffff-ffff-ffff-ffffffffffff'`],
    ["200 a page", "p_limit => 200"],
    ["nobody", "p_search => 'no such address'"],
  ])("%s", async (what, args) => {
    const { pages, users } = await cost(args);
    console.log(`${what}: ${users} users, ${pages} pages (the two tables have ${whole})`);
    expect(pages).toBeLessThan(most());
  });

  test("the plan: each table once, and no sort of more than a page", async () => {
    const { rows } = await db.admin.query(`explain (analyze, costs off, timing off, summary off)
      select coalesce(a.user_id, u.id) as id, coalesce(a.tokens_remaining, 0) as of_number
        from public.token_accounts a full join auth.users u on u.id = a.user_id
       where (a.user_id is not null or u.deleted_at is null)
       order by 2 desc, 1 desc limit 51`);
    const plan = rows.map((row) => String(row["QUERY PLAN"])).join("\n");
    console.log(plan);
    expect(plan).toMatch(/top-N heapsort/);
    expect(plan).toMatch(/Hash Full Join|Merge Full Join/);
  });

  test("(known-bad) a list that looks each account up by itself reads far more", async () => {
    const { rows } = await db.admin.query(
      "select pg_get_functiondef('tokenbook.list_token_users(text,text,boolean,integer,text)'::regprocedure) as body",
    );
    const right = "coalesce(a.tokens_remaining, 0)";
    const wrong =
      "coalesce((select one.tokens_remaining from public.token_accounts one where one.user_id = a.user_id), 0)";
    expect(String(rows[0].body).split(right).length).toBe(2);
    await db.admin.query(String(rows[0].body).replace(right, wrong));
    const { pages } = await cost("p_sort => 'balance'");
    console.log(`looked up one by one: ${pages} pages`);
    expect(pages).toBeGreaterThan(most());
    await db.admin.query(String(rows[0].body));
  });
});
