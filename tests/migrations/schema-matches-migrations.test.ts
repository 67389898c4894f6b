import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildFromSchemas } from "../../scripts/schema/build-from-schemas.ts";
import {
  type Catalog,
  catalogOf,
  compareCatalogs,
  describeDifference,
  ownFacts,
  readCatalog,
} from "../../packages/tokenbook/src/catalog/catalog.ts";
import { withConnection } from "../../packages/tokenbook/src/database/connection.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { migrate } from "../support/migrate.ts";

/** What makes an older hosted project's defaults those of a new one: nothing is open by itself. */
const closedDefaults = ["tables", "functions", "sequences"]
  .map(
    (kind) => `alter default privileges for role postgres in schema public
    revoke all on ${kind} from anon, authenticated, service_role`,
  )
  .join(";");

/** Default privileges that a host project may have: all that the owner creates is open, in every schema. */
const openDefaults = ["tables", "functions", "sequences"]
  .map(
    (kind) =>
      `alter default privileges for role postgres grant all on ${kind} to anon, authenticated, service_role`,
  )
  .join(";");

let db: Database;
let fromMigrations: Catalog;

beforeAll(async () => {
  db = await createDatabase();
  fromMigrations = ownFacts(await readCatalog(db.url()));
});
afterAll(() => db.drop());

/** The catalog after a change, which is then undone. */
const catalogAfter = (sql: string) =>
  withConnection(db.url(), async (client) => {
    await client.query(`begin; ${sql}`);
    const catalog = await catalogOf(client);
    await client.query("rollback");
    return ownFacts(catalog);
  });

test("the schema files describe what the migrations build, in every fact", async () => {
  const built = await createDatabase({ template: "platform" });
  await buildFromSchemas(built.url());
  const fromSchemas = ownFacts(await readCatalog(built.url()));
  await built.drop();

  const differences = compareCatalogs(fromMigrations, fromSchemas);

  console.log(`migrations and schemas: facts=${fromMigrations.size} differences=${differences.length}`);
  expect(differences.map((difference) => describeDifference(difference, "migrations", "schemas"))).toEqual(
    [],
  );
  expect(fromMigrations.size, "facts compared, no fewer than ever").toBeGreaterThanOrEqual(2_029);
});

test.each([
  ["closed", closedDefaults],
  ["open everywhere", openDefaults],
])(
  "rights and all else are the same in a project whose default privileges are %s",
  async (name, defaultPrivileges) => {
    const other = await createDatabase({ template: "platform" });
    await other.admin.query(defaultPrivileges);
    await migrate(other);
    const inOtherProject = ownFacts(await readCatalog(other.url()));
    await other.drop();

    const differences = compareCatalogs(fromMigrations, inOtherProject);
    const defaults = differences.filter(({ fact }) => fact.startsWith("default acl "));
    const others = differences.filter((difference) => !defaults.includes(difference));

    console.log(
      `usual project and one that is ${name}: facts=${inOtherProject.size} differences=${others.length} beside ${defaults.length} of the defaults`,
    );
    expect(others.map((difference) => describeDifference(difference, "usual", name))).toEqual([]);
    expect(defaults.length, "the two projects do differ in their defaults").toBeGreaterThan(0);
  },
);

describe("a difference is found", { tags: ["proof"] }, () => {
  /** A change, and the facts that must be named for it: those and no others. */
  const changes: Record<string, { sql: string; facts: string[] }> = {
    "a grant on a table taken away": {
      sql: "revoke select on table public.token_accounts from authenticated",
      facts: ["table public.token_accounts · privileges of authenticated"],
    },
    "a grant on one column": {
      sql: "grant update (metadata) on table public.token_balances to service_role",
      facts: ["table column public.token_balances.metadata · privileges of service_role"],
    },
    "execute on a function given to public": {
      sql: "grant execute on function public.expire_old_token_grants(integer) to public",
      facts: ["function public.expire_old_token_grants(integer) · privileges of public"],
    },
    "usage of a schema": {
      sql: "grant usage on schema tokenbook to anon",
      facts: ["schema tokenbook · privileges of anon"],
    },
    "a sequence opened": {
      sql: "grant usage on sequence tokenbook.failed_registrations_id_seq to authenticated",
      facts: ["sequence tokenbook.failed_registrations_id_seq · privileges of authenticated"],
    },
    "a default privilege dropped": {
      sql: "alter default privileges for role postgres in schema public revoke all on functions from anon",
      facts: ["default acl for role postgres in schema public on functions · privileges of anon"],
    },
    "a default privilege for all schemas": {
      sql: "alter default privileges for role postgres revoke execute on functions from public",
      facts: ["default acl for role postgres on functions · privileges of postgres"],
    },
    "a column's type": {
      sql: "alter table tokenbook.failed_registrations alter column error type varchar",
      facts: ["table column tokenbook.failed_registrations.error · definition"],
    },
    "a column's default": {
      sql: "alter table public.token_accounts alter column tokens_used drop default",
      facts: ["table column public.token_accounts.tokens_used · definition"],
    },
    "a column that may be null": {
      sql: "alter table public.token_balances alter column granted_at drop not null",
      facts: ["table column public.token_balances.granted_at · definition"],
    },
    "a column added": {
      sql: "alter table tokenbook.admins add column note text",
      facts: ["table column tokenbook.admins.note · definition"],
    },
    "an identity that can be overridden": {
      sql: "alter table tokenbook.failed_registrations alter column id set generated by default",
      facts: ["table column tokenbook.failed_registrations.id · definition"],
    },
    "a check dropped": {
      sql: "alter table public.token_storage_quotas drop constraint token_storage_quotas_quota_is_positive",
      facts: [
        "table constraint token_storage_quotas_quota_is_positive on public.token_storage_quotas · definition",
      ],
    },
    "an index dropped": {
      sql: "drop index public.token_balances_expiry_idx",
      facts: [
        "index public.token_balances_expiry_idx · definition",
        "index public.token_balances_expiry_idx · state",
      ],
    },
    "an index that its table is clustered by": {
      sql: "alter table public.token_holds cluster on token_holds_pkey",
      facts: ["index public.token_holds_pkey · state"],
    },
    "the trigger on a table of the auth server, dropped with its function": {
      sql: "drop function tokenbook.register_user() cascade",
      facts: [
        "function tokenbook.register_user() · comment",
        "function tokenbook.register_user() · definition",
        "function tokenbook.register_user() · owner",
        "function tokenbook.register_user() · privileges of postgres",
        "trigger tokenbook_register_user on auth.users · definition",
      ],
    },
    "a trigger disabled": {
      sql: "alter table public.token_transactions disable trigger token_transactions_keep_append_only",
      facts: ["trigger token_transactions_keep_append_only on public.token_transactions · definition"],
    },
    "a policy widened": {
      sql: `alter policy "Users read their own grants" on public.token_balances using (true)`,
      facts: [`policy "Users read their own grants" on public.token_balances · definition`],
    },
    "row level security switched off": {
      sql: "alter table public.token_usage disable row level security",
      facts: ["table public.token_usage · row level security"],
    },
    "security_invoker dropped": {
      sql: "alter view public.token_counters reset (security_invoker)",
      facts: ["view public.token_counters · options"],
    },
    "a view's text": {
      sql: "create or replace view public.token_counters with (security_invoker = true) as select a.user_id, 0::bigint as vibe_assistant_tokens_remaining, a.tokens_used as vibe_assistant_tokens_used, a.total_cost / 100 as vibe_assistant_total_cost from public.token_accounts a",
      facts: ["view public.token_counters · definition"],
    },
    "a fillfactor": {
      sql: "alter table public.token_balances reset (fillfactor)",
      facts: ["table public.token_balances · options"],
    },
    "a function's attribute": {
      sql: "alter function tokenbook.is_admin() volatile",
      facts: ["function tokenbook.is_admin() · definition"],
    },
    "a function that lost its search_path": {
      sql: "alter function tokenbook.is_admin() reset search_path",
      facts: ["function tokenbook.is_admin() · definition"],
    },
    "a function's owner": {
      sql: "grant create on schema tokenbook to service_role; alter function tokenbook.is_admin() owner to service_role; revoke create on schema tokenbook from service_role",
      facts: [
        "function tokenbook.is_admin() · owner",
        "function tokenbook.is_admin() · privileges of postgres",
        "function tokenbook.is_admin() · privileges of service_role",
      ],
    },
    "a comment on a table": {
      sql: "comment on table public.token_usage is 'Something else.'",
      facts: ["table public.token_usage · comment"],
    },
    "a comment on a column": {
      sql: "comment on column public.token_usage.metadata is null",
      facts: ["table column public.token_usage.metadata · comment"],
    },
    "a comment on a constraint": {
      sql: "comment on constraint token_storage_quotas_quota_is_positive on public.token_storage_quotas is 'New.'",
      facts: [
        "table constraint token_storage_quotas_quota_is_positive on public.token_storage_quotas · comment",
      ],
    },
    "a table that is broadcast no more": {
      sql: "alter publication supabase_realtime drop table public.token_accounts",
      facts: ["publication relation public.token_accounts in publication supabase_realtime · definition"],
    },
    "a domain added": {
      sql: "create domain tokenbook.positive as bigint check (value > 0)",
      facts: [
        "domain constraint positive_check on tokenbook.positive · definition",
        "type tokenbook.positive · definition",
        "type tokenbook.positive · owner",
        "type tokenbook.positive · privileges of postgres",
        "type tokenbook.positive · privileges of public",
      ],
    },
    "a kind of object that has no definition of its own here": {
      sql: 'create collation tokenbook.plain from "C"',
      facts: ["collation tokenbook.plain · exists"],
    },
  };

  test.each(Object.entries(changes))("%s", async (_change, { sql, facts }) => {
    const changed = await catalogAfter(sql);

    expect(compareCatalogs(fromMigrations, changed).map(({ fact }) => fact)).toEqual(facts);
  });

  test("but not in the order in which tables and columns were made", async () => {
    const first = await catalogAfter(
      "create table tokenbook.a (x integer, y text); create table tokenbook.b (x integer, y text)",
    );
    const second = await catalogAfter(
      "create table tokenbook.b (y text, x integer); create table tokenbook.a (y text, x integer)",
    );

    expect(compareCatalogs(first, second)).toEqual([]);
    expect(compareCatalogs(fromMigrations, first)).not.toEqual([]);
  });
});
