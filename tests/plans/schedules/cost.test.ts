import { superuser } from "local-platform/postgres/server";
import type { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { pagesTouched } from "../../support/pages.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsOwner, connectAsServer } from "../../support/storm.ts";
import { about, setPlan } from "./schedules.ts";

const DEDUCTIONS = 50;

let db: Database;
let client: Client;
beforeAll(async () => {
  db = await createDatabase();
  // who may set it is the superuser of the server, for the connections to come
  const setting = await connectAsOwner(db, superuser);
  await setting.query(
    "do $$ begin execute format('alter database %I set track_functions = pl', current_database()); end $$",
  );
  await setting.end();
  client = await connectAsServer(db);
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

/** How often each function was called on this connection. */
async function called(): Promise<Map<string, number>> {
  const { rows } = await client.query(
    "select funcid::regprocedure::text as name, calls::int from pg_catalog.pg_stat_xact_user_functions",
  );
  return new Map(rows.map(({ name, calls }) => [name, calls]));
}

/** What deductions of that user come to: the pages that they touch, and each function as often as it is called. */
async function costOf(user: string) {
  await client.query("begin");
  const before = await called();
  const pages = await pagesTouched(
    client,
    `select public.deduct_tokens_with_fifo('${user}', 1) from generate_series(1, ${DEDUCTIONS})`,
  );
  const functions = [...(await called())]
    .map(([name, calls]) => [name.split("(")[0], calls - (before.get(name) ?? 0)] as const)
    .filter(([, calls]) => calls > 0);
  await client.query("rollback");
  return { pages, functions: functions.toSorted().map(([name, calls]) => `${name} ${calls}`) };
}

type Cost = Awaited<ReturnType<typeof costOf>>;

test("a deduction costs an account whose plan has a schedule no more than one without, until a slot is due", async () => {
  await setPlan(db, "yearly", { tokens: 1_000_000, billing_cycle: "annual", issue_every: "month" });
  await setPlan(db, "at_once", { tokens: 1_000_000, billing_cycle: "annual" });
  const [without, withSchedule] = [await createUser(db), await createUser(db)];
  await about(db, without)("change_token_plan", { p_plan_type: "at_once" });
  await about(db, withSchedule)("change_token_plan", { p_plan_type: "yearly" });
  for (const user of [without, withSchedule]) await costOf(user); // whatever is planned and read once

  // what autovacuum has looked at meanwhile is planned anew, and that touches pages too: hardly in each of three pairs
  const pairs: (readonly [Cost, Cost])[] = [];
  for (let n = 0; n < 3; n++) pairs.push([await costOf(without), await costOf(withSchedule)]);
  const apart = ([one, other]: (typeof pairs)[number]) => Math.abs(other.pages / one.pages - 1);
  const [plain, scheduled] = pairs.toSorted((one, other) => apart(one) - apart(other))[0]!;
  expect(plain.functions).toContain(`tokenbook.spend_tokens ${DEDUCTIONS}`);
  expect(scheduled.functions).toEqual(plain.functions);
  // a row may lie on one page or on two
  expect(apart([plain, scheduled])).toBeLessThan(0.05);

  // (known-bad) a slot that is due is given first: the comparison sees it
  await db.admin.query(
    "update public.token_accounts set next_due_at = clock_timestamp() - interval '1 second' where user_id = $1",
    [withSchedule],
  );
  const due = await costOf(withSchedule);
  console.log(
    `${DEDUCTIONS} deductions: without a schedule ${plain.pages} pages, with one ${scheduled.pages}, with one due ${due.pages}`,
  );
  expect(due.functions).toContain("tokenbook.record_expiries 1");
  expect(due.functions).not.toEqual(plain.functions);
});
