import { afterAll, beforeAll, expect, test } from "vitest";
import { supabase } from "../../scripts/local/supabase-cli.ts";
import { createDatabase, type Database } from "../support/database.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const advisors = () =>
  supabase([
    "db",
    "advisors",
    `--remote=${db.url()}?sslmode=disable`,
    "--level",
    "warn",
    "--fail-on",
    "warn",
  ]);

test("the advisors of the Supabase CLI find nothing", async () => {
  const { status, stdout } = await advisors();

  console.log(`supabase db advisors --fail-on warn: exit ${status}, ${stdout.trim() || "no findings"}`);
  expect(status, stdout).toBe(0);
});

test("they find what is planted", async () => {
  await db.admin.query(`
    create table public.planted_table (id integer);
    create view public.planted_view as select user_id from public.token_balances;
    create function public.planted_function() returns integer language sql as 'select 1';
    create policy "planted policy" on public.token_usage for insert to authenticated with check (true);
  `);

  const { status, stdout } = await advisors();

  expect(status).not.toBe(0);
  expect(stdout).toContain("planted_table");
  expect(stdout).toContain("rls_disabled_in_public");
  expect(stdout).toContain("security_definer_view");
  expect(stdout).toContain("function_search_path_mutable");
  expect(stdout).toContain("rls_policy_always_true");
});
