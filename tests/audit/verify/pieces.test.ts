/**
 * What a piece of the books costs does not grow with the square of it: the planner has to know how much is in it, also
 * where both of its ends lie in one bucket of the histogram. With 100,000,000 entries every piece does.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { superuser } from "local-platform/postgres/server";
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { loggedPlans } from "../../../scripts/bench/logged-plans.ts";
import { projectRoot } from "../../../scripts/project.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";

const source = (path: string) => readFileSync(join(projectRoot, path), "utf8");
/** Users, of each a grant and four deductions, and how many users a piece has. */
const [users, each, many] = [6000, 5, 200];

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  const client = await db.admin.connect();
  try {
    await client.query("set session_replication_role = replica");
    for (const [name, value] of Object.entries({ users, rounds: 1, uses: each - 1 }))
      await client.query("select set_config('bench.' || $1, $2, false)", [name, String(value)]);
    await client.query(source("scripts/bench/scale-data.sql"));
    for (let step = 0; step < each; step++) await client.query(`call bench.write_step(0, ${step})`);
    await client.query("call bench.write_accounts()");
    // few buckets: the piece is in one of them, as each is where there are very many users
    for (const table of ["accounts", "balances", "transactions"]) {
      await client.query(`alter table public.token_${table} alter column user_id set statistics 2`);
      await client.query(`analyze public.token_${table}`);
    }
  } finally {
    client.release(true);
  }
  return () => db.drop();
});

/** How many entries the planner expects in the piece. */
async function expected(call: string): Promise<number> {
  const { rows } = await db.admin.query<{ user_id: string }>(
    "select user_id from public.token_accounts order by 1 offset $1 limit $2",
    [users / 4, many + 1],
  );
  const piece = [rows[0]!.user_id, rows.at(-1)!.user_id];
  const client = new pg.Client({ connectionString: db.url(superuser) });
  await client.connect();
  try {
    const { plan } = await loggedPlans(client, async () => {
      const answer = await client.query(`select * from ${call}`, piece);
      if (call.includes("verify")) expect(answer.rows).toEqual([]);
    });
    const scans = plan!.plan.matchAll(/ on token_transactions_1_0 \w+ {2}\(cost=\S+ rows=(\d+)/g);
    // a replay also looks up single entries
    return (call.includes("verify") ? Math.min : Math.max)(
      ...[...scans].map(([, entries]) => Number(entries)),
    );
  } finally {
    await client.end();
  }
}

test.each([
  ["verify", "public.verify_token_ledger(null, $1, $2)"],
  ["replay", "public.replay_token_balances(null, $1, $2)"],
])("a piece to %s is expected to have what it has", async (_, call) => {
  const found = await expected(call);
  const has = many * each;
  console.log(`entries of the piece: ${has}, expected ${found}`);
  expect(found).toBeGreaterThan(has / 4);
  expect(found).toBeLessThan(has * 4);
});

test("the test sees it: a piece between two ends is expected to have next to nothing", async () => {
  await applyMutant(db, "pieces-are-ranges");
  expect(await expected("public.verify_token_ledger(null, $1, $2)")).toBeLessThan(10);
});

test("a piece has the users of every table that is read by them", () => {
  const listed = [
    ...source("supabase/schemas/90_audit/users_between.sql").matchAll(/from (\S+) x where/g),
  ].map(([, table]) => table!);
  expect(listed.length).toBeGreaterThan(10);
  for (const file of ["find_breaches", "replay"]) {
    const text = source(`supabase/schemas/90_audit/${file}.sql`);
    const conditions = [...text.matchAll(/v_users is null or (\w+)\.user_id/g)];
    expect(conditions.length).toBeGreaterThan(4);
    for (const { 1: alias, index } of conditions) {
      const above = text.slice(0, index).matchAll(new RegExp(`(?:from|join) (\\w+\\.\\w+) ${alias}\\b`, "g"));
      // "one" is either side of a referral
      expect(listed).toContain(alias === "one" ? "tokenbook.referrals" : [...above].at(-1)?.[1]);
    }
  }
});
