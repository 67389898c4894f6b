// @module-tag proof
/** npm run bench:console: what it writes is sound, it asks what the pages ask, and it sees what takes too long. */
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { superuser } from "local-platform/postgres/server";
import { measureConsole, tableOf } from "../../scripts/bench/measure-console.ts";
import { createDatabase, type Database } from "../support/database.ts";

const effort = { users: 400, heavy: 240, times: 2 };

let db: Database;
let client: pg.Client;
beforeAll(async () => {
  db = await createDatabase();
  client = new pg.Client({ connectionString: db.url(superuser) });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

test("books that are copied are sound, every request answers, and has a plan", async () => {
  const { data, requests, breaches } = await measureConsole(client, effort, { hasPlans: true });
  console.log(data);
  for (const line of tableOf(requests)) console.log(line);
  expect(breaches).toBe(0);
  const of = (page: string, request: string) =>
    requests.find((one) => one.page === page && one.request === request)!;
  expect(of("Users", "by balance, the second page").rows).toBe(50);
  expect(of("A user who uses most", "team").rows).toBe(40);
  expect(of("A user who uses most", "ledger, the second page").rows).toBe(50);
  expect(of("A user who uses most", "usage by day and model").rows).toBeGreaterThan(10);
  expect(of("Payments", "newest, and parked").rows).toBe(30);
  expect(of("Webhooks", "deliveries that wait").rows).toBeGreaterThan(0);
  expect(of("Books", "compared with what was used, a piece").rows).toBe(0);
  expect(of("Users", "searched, nobody found").plan?.where).toMatch(/list_token_users/);
  expect(
    requests.filter(
      ({ rows, request }) =>
        rows === 0 && !/nobody|piece|account|to come|given up|reconciled|team/.test(request),
    ),
  ).toEqual([]);
}, 120_000);

test("(known-bad) a list that waits is seen, and copies with another balance are no sound books", async () => {
  const other = await createDatabase();
  const bad = new pg.Client({ connectionString: other.url(superuser) });
  await bad.connect();
  const { rows } = await bad.query(
    "select pg_get_functiondef('tokenbook.list_token_codes(integer,bigint)'::regprocedure) as body",
  );
  await bad.query(
    String(rows[0].body).replace(
      /\nbegin\n/i,
      "\nbegin\n  perform count(md5(n::text)) from generate_series(1, 1000000) n;\n",
    ),
  );
  await bad.query(
    `create function public.wrong_copy() returns trigger language plpgsql as
     $$ begin new.tokens_remaining := new.tokens_remaining + 1; return new; end $$;
     create trigger wrong_copy before insert on public.token_accounts for each row execute function public.wrong_copy();
     alter table public.token_accounts enable always trigger wrong_copy`,
  );
  const { requests, breaches } = await measureConsole(bad, effort);
  const slow = requests.filter(({ processor }) => processor > 300);
  console.log(`over 300 ms: ${slow.map(({ page }) => page).join(", ")}; breaches=${breaches}`);
  expect(slow.map(({ page }) => page)).toContain("Codes");
  expect(breaches).toBeGreaterThan(0);
  await bad.end();
  await other.drop();
}, 120_000);
