import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { trespassesIn } from "../../scripts/schema/guest.ts";
import { migrationFiles, schemaFiles } from "../../scripts/schema/project-files.ts";
import { projectRoot } from "../../scripts/project.ts";

/** Older names, which this repository's own project had and now has as views. */
const older = ["user_subscriptions", "payments", "user_storage"];

/** The migrations that are written by hand, and for this repository's own project. */
const byHand = /set_aside_old_tables|open_the_books/;

test("no statement of the schema files, or of a migration since November 2025, touches what Tokenbook did not make", async () => {
  const since = (await migrationFiles()).filter((file) => basename(file) >= "2026");
  const files = [...(await schemaFiles()), ...since];
  const looked = files.map((file) =>
    trespassesIn(
      file,
      readFileSync(join(projectRoot, file), "utf8"),
      byHand.test(file) ? { relations: older } : {},
    ),
  );
  const statements = looked.reduce((total, one) => total + one.statements, 0);
  const found = looked.flatMap((one) => one.found);
  console.log(`files=${files.length} statements=${statements} trespasses=${found.length}`);
  expect(found).toEqual([]);
  expect(since.length).toBeGreaterThan(3);
  expect(statements).toBeGreaterThan(1_000);
});

test.for([
  "revoke all on all functions in schema private from public, anon, authenticated, service_role",
  "grant select on all tables in schema public to service_role",
  "revoke all on schema private from public",
  "grant usage on schema public to anon",
  "revoke execute on function private.is_admin() from authenticated",
  "grant select, insert on table public.token_accounts, public.profiles to anon",
  "select tokenbook.withdraw_rights('table', 'public.profiles'::regclass)",
  "do $$ begin perform tokenbook.withdraw_rights('table', format('public.%I', r)::regclass) from unnest(array['profiles']) r; end $$",
  "grant service_role to authenticator",
  "create or replace function public.get_user_token_balance(p_user_id uuid) returns integer language sql as 'select 1'",
  "create or replace view public.token_counters as select 1",
  "create table public.settings (id integer)",
  "create index token_settings_idx on public.settings (id)",
  "create view public.user_profiles as select 1",
  'create policy "own rows" on storage.objects for select using (true)',
  "create trigger token_watch after update on public.profiles for each row execute function tokenbook.register_user()",
  "create trigger token_watch after insert on auth.users for each row execute function public.handle_new_user()",
  "create trigger tokenbook_charge after insert on public.articles for each row execute function tokenbook.charge_for_row('a')",
  "select tokenbook.charge_tokens_on_insert('public.articles', 'article_generation', 10)",
  "alter table public.profiles drop column credits",
  "alter default privileges in schema public revoke all on tables from anon",
  "alter role authenticator set statement_timeout = '8s'",
  "alter publication supabase_realtime add table public.profiles",
  "alter publication supabase_realtime drop table public.token_accounts",
  "create publication token_changes for all tables",
  "drop function if exists public.handle_new_user() cascade",
  "drop trigger on_auth_user_created on auth.users",
  "drop schema private cascade",
  "comment on column public.profiles.credits is 'tokens'",
  "update public.profiles set credits = 0",
  "insert into auth.users (id) values (null)",
  "truncate table public.profiles",
  "create extension if not exists citext",
])("the test sees it, wherever it stands: %s", { tags: ["proof"] }, (statement) => {
  const within = {
    "by itself": `${statement};`,
    "in a block": `do $$ begin if true then ${statement}; end if; end $$;`,
    "in a function": `create function tokenbook.f() returns void language plpgsql as $$ begin ${statement}; end $$;`,
    executed: `do $$ begin execute '${statement.replaceAll("'", "''")}'; end $$;`,
  };
  for (const [where, sql] of Object.entries(within))
    expect(trespassesIn("planted", sql).found.length, where).toBeGreaterThan(0);
});

test("the test sees it: names that are put together from others than ours", { tags: ["proof"] }, () => {
  const each = (names: string[]) => `do $$ declare v text; begin
    foreach v in array array[${names.map((name) => `'${name}'`).join(", ")}] loop
      execute format('revoke all on table public.%I from public, anon', v);
    end loop; end $$;`;
  expect(trespassesIn("planted", each(["token_accounts", "profiles"])).found).toHaveLength(1);
  expect(trespassesIn("planted", each(["token_accounts", "token_plans"])).found).toEqual([]);
  const exposed =
    "select tokenbook.expose(f, 'anon') from unnest(array['grant_tokens', 'handle_new_user']) f;";
  expect(trespassesIn("planted", exposed).found).toHaveLength(1);
});

test.for([
  "-- drop table public.profiles;",
  "/* alter table public.profiles add credits bigint; */",
  "do $$ begin raise exception 'grant usage on schema public to %, and drop table public.profiles', current_user; end $$;",
  "comment on table public.token_accounts is 'update public.profiles set credits = 0';",
  "create trigger tokenbook_register_user after insert on auth.users for each row execute function tokenbook.register_user();",
  "alter publication supabase_realtime add table public.token_accounts;",
  "create function tokenbook.f() returns void language plpgsql as $$ begin update public.token_accounts a set tokens_used = 0 where false; end $$;",
  "select 1 from public.token_accounts a for update of a;",
])("what touches nothing of others is no trespass: %s", (statement) => {
  expect(trespassesIn("planted", statement).found).toEqual([]);
});
