/**
 * Projects as they exist in the wild, and Tokenbook as their guest: the app's own migration and ours are
 * applied by the real Supabase CLI, and everything of the app is compared, as it was and as it is.
 */
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { migrationUp } from "local-platform/project/supabase-cli";
import { allFacts, type Catalog, compareCatalogs } from "../../packages/tokenbook/src/catalog/catalog.ts";
import { withConnection } from "../../packages/tokenbook/src/database/connection.ts";
import { jobsMigration, tokenbookMigration } from "../../scripts/schema/generated-migrations.ts";
import { type OwnNames, ownNames } from "../../scripts/schema/install-check.ts";
import { schemaFiles } from "../../scripts/schema/project-files.ts";
import { createDatabase, type Database, type DatabaseOptions } from "../support/database.ts";
import { inOneTransaction } from "../support/migrate.ts";
import { projectRoot } from "../../scripts/project.ts";

/** Two users that every project has. */
export const ann = "00000000-0000-4000-8000-000000000001";
export const ben = "00000000-0000-4000-8000-000000000002";

/** The projects, with what their apps ask: each is asked as every role. */
export const projects: Record<string, string[]> = {
  "a-credits": [
    "select count(*), sum(credits), count(credits) from profiles",
    "select public.decrement_credits(5)",
    "select public.decrement_credits(1000000)",
    "update profiles set full_name = 'Ann' where id = auth.uid() returning *",
    `insert into profiles (id, full_name) values ('${ben}', 'Ben')`,
  ],
  "b-seed-like": [
    "select user_id, kind, amount, left_over from token_balances order by id",
    "select tokens from token_transactions order by id",
    "select * from balance_of_users order by 1",
    "select tokens, user_id from spending order by id",
    "select * from usage_by_model",
    `select spend('${ann}', 30), total_left(), total_used()`,
    `insert into token_usage (user_id, model, tokens) values ('${ann}', 'GPT-5', 7) returning model, tokens`,
    `insert into token_usage (user_id, model, tokens) values ('${ben}', 'GPT-5', 7) returning model, tokens`,
    "insert into token_transactions (balance_id, tokens) values (99, 1)",
    "delete from token_balances where id = 1 returning kind",
    "select i.euros, b.left_over from invoices i join token_balances b on b.id = i.balance_id",
  ],
  "c-own-payments": [
    "select amount, status, user_id from payments order by user_id",
    "select * from user_subscriptions order by 1",
    "select * from user_storage order by 1",
    "select * from teams order by 1",
    "select * from team_members order by 1, 2",
    "select * from paying order by 1",
    `select can_ask('${ann}'), get_user_token_balance('${ann}')`,
    "update user_storage set bytes = 7 where user_id = auth.uid() returning *",
    `insert into payments (user_id, amount) values ('${ann}', 1) returning amount`,
  ],
  "d-profiles-by-id": [
    "select * from user_profiles order by 1",
    "select rename_me('Anna')",
    `delete from user_profiles where id = '${ann}' returning first_name`,
  ],
  "e-own-private": [
    "select * from documents order by 1",
    "select private.is_admin(), public.is_admin()",
    "select private.authorize('read')",
    `insert into documents values (10, '${ben}', 'New') returning *`,
    "update documents set title = 'Changed' where id = 2 returning *",
    "select * from private.admins",
    "select * from admins",
  ],
  "h-newer-profiles": [
    "select * from user_profiles order by 1",
    "select use_some(100)",
    "update user_profiles set storage_quota_gb = 5 returning *",
  ],
  "i-subscription-starter": [
    "select full_name, message_credits from users order by id",
    "select send_message('Hello')",
    "update users set full_name = 'Ann' where id = auth.uid() returning id, full_name",
    "update users set message_credits = 1000000 where id = auth.uid()",
    "select p.name, r.unit_amount, r.interval from products p join prices r on r.product_id = p.id",
    "select user_id, status from subscriptions order by id",
    "select count(*) from customers",
    "select tablename from pg_publication_tables where pubname = 'supabase_realtime' and tablename in ('products', 'prices') order by 1",
  ],
  "j-credit-transactions": [
    "select id, credits from profiles order by id",
    "select user_id, amount, kind, balance_after from credit_transactions order by id",
    "select use_credits(5)",
    "select use_credits(1000000)",
    `select move_credits('${ben}', 7, 'refund')`,
    "update profiles set credits = 1000000 where id = auth.uid()",
    "update profiles set email = 'new@example.com' where id = auth.uid() returning email",
  ],
  "k-organisations": [
    "select slug, credit_balance from organizations order by slug",
    "select organization_id, user_id, role from memberships order by 1, 2",
    "select use_org_credits('00000000-0000-4000-9000-000000000001', 2.5)",
    "select use_org_credits('00000000-0000-4000-9000-000000000002', 1000000)",
    "select app.is_member('00000000-0000-4000-9000-000000000001')",
    "insert into organizations (name, slug, owner_id) values ('Mine', 'mine', auth.uid())",
  ],
};

/** A project in a database, with a folder for the Supabase CLI. */
export interface Guest {
  db: Database;
  root: string;
  /** Whether the real CLI applies its migrations, or a connection of ours, each in one transaction as the CLI does. */
  byCli: boolean;
  remove(): Promise<void>;
}

/** Builds a project: a hosted database, and the app's migration of 2026. */
export async function startProject(
  name: string,
  { byCli = true, ...options }: Partial<DatabaseOptions> & { byCli?: boolean } = {},
): Promise<Guest> {
  const db = await createDatabase({ ...options, template: "platform" });
  const root = await mkdtemp(join(tmpdir(), "tokenbook-guest-"));
  await mkdir(join(root, "supabase/migrations"), { recursive: true });
  await writeFile(join(root, "supabase/config.toml"), 'project_id = "app"\n\n[db]\nport = 54322\n');
  await symlink(join(projectRoot, "node_modules"), join(root, "node_modules")); // it has the CLI as a dependency
  const guest = {
    db,
    root,
    byCli,
    remove: async () => {
      await db.drop();
      await rm(root, { recursive: true });
    },
  };
  const sql = await readFile(new URL(`projects/${name}.sql`, import.meta.url), "utf8");
  await apply(guest, { "20260901000000_app": sql });
  return guest;
}

/** Applies migrations, with all that wait, in order. */
async function apply(guest: Guest, migrations: Record<string, string>): Promise<void> {
  for (const [name, sql] of Object.entries(migrations)) {
    if (guest.byCli) await addMigration(guest, name, sql);
    else await inOneTransaction(guest.db, sql);
  }
  if (guest.byCli) await migrationUp({ url: guest.db.url(), workdir: guest.root });
}

export const addMigration = (guest: Guest, name: string, sql: string): Promise<void> =>
  writeFile(join(guest.root, "supabase/migrations", `${name}.sql`), sql);

/** The two files that a project gets, as they are in this repository. */
export const generated = async () => ({
  tokenbook: await readFile(join(projectRoot, tokenbookMigration), "utf8"),
  jobs: await readFile(join(projectRoot, jobsMigration), "utf8"),
});

/**
 * Installs as the README says: the two generated files with a fresh timestamp, `supabase migration up`.
 *
 * @param change what a known-bad variant makes of the first file.
 * @throws Failure with the CLI's words.
 */
export async function install(
  guest: Guest,
  change: (sql: string) => string = (sql) => sql,
  stamp = "20261127",
): Promise<void> {
  const { tokenbook, jobs } = await generated();
  await apply(guest, {
    [`${stamp}000000_tokenbook`]: change(tokenbook),
    [`${stamp}000001_tokenbook_jobs`]: jobs,
  });
}

/** Everything that the database holds, of whomever; but for what the CLI writes of itself. */
export const factsOf = (db: Database): Promise<Catalog> =>
  withConnection(db.url(), async (client) => {
    const facts = new Map(await allFacts(client));
    const others = await client.query<{ fact: string; value: string }>(`
      select 'role ' || rolname || ' · attributes' as fact, to_jsonb(r)::text as value from pg_roles r where rolname !~ '^stranger_' -- another test's, on the same server: tests name the roles they make so
      union all select 'member ' || m.roleid::regrole || ' of ' || m.member::regrole || ' · options', 'yes' from pg_auth_members m where m.roleid::regrole::text !~ '^stranger_'
      union all select 'database · privileges', coalesce(datacl::text, '') from pg_database where datname = current_database()
      union all select 'settings of ' || setrole::regrole || ' · all', setconfig::text from pg_db_role_setting where setdatabase = 0 and setrole::regrole::text !~ '^stranger_'`);
    for (const { fact, value } of others.rows) facts.set(fact, value);
    return facts;
  });

/** The callers. */
const callers: Record<string, Record<string, unknown> | undefined> = {
  postgres: undefined,
  anon: { role: "anon" },
  ann: { role: "authenticated", sub: ann },
  ben: { role: "authenticated", sub: ben },
  server: { role: "service_role" },
};

/** What each of the app's statements answers to each caller: rows, or the error. Nothing of it stays. */
export async function answersOf(db: Database, statements: string[]): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {};
  for (const [who, claims] of Object.entries(callers)) {
    for (const [nth, sql] of statements.entries()) {
      answers[`${nth} as ${who}`] = await ask(claims ? db.api : db.admin, claims, sql);
    }
  }
  return answers;
}

async function ask(
  pool: pg.Pool,
  claims: Record<string, unknown> | undefined,
  sql: string,
): Promise<unknown> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    if (claims) {
      await client.query("select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)", [
        claims["role"],
        JSON.stringify(claims),
      ]);
    }
    const { rows, rowCount } = await client.query(sql);
    return { rows, rowCount };
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { code, message };
  } finally {
    await client.query("rollback");
    client.release();
  }
}

let names: OwnNames | undefined;

/** The names that Tokenbook takes in `public`. */
export async function takenNames(): Promise<OwnNames> {
  return (names ??= ownNames(
    await Promise.all((await schemaFiles()).map((file) => readFile(join(projectRoot, file), "utf8"))),
  ));
}

/** A text in which the names of ours are what a project that had them calls its own now. */
export async function renamed(text: string): Promise<string> {
  const { relations, functions } = await takenNames();
  return text.replaceAll(new RegExp(`\\b(${[...relations, ...functions].join("|")})\\b`, "g"), "app_$1");
}

/** In words, every fact of before that is not so any more, and every new one that is not ours to make. */
export async function touched(before: Catalog, after: Catalog): Promise<string[]> {
  const { relations, functions } = await takenNames();
  const ours = new Set([...relations, ...functions]);
  return compareCatalogs(before, after)
    .filter(
      ({ fact, first }) =>
        first !== undefined ||
        !(
          /\btokenbook[. ]|^trigger tokenbook_register_user on auth.users/.test(fact) ||
          [...fact.slice(0, fact.indexOf(" · ")).matchAll(/\bpublic\.(\w+)/g)].some(([, name]) =>
            ours.has(name!),
          )
        ),
    )
    .map(({ fact, first, second }) => `${fact}: ${first ?? "(none)"} → ${second ?? "(none)"}`);
}

/** How many rows there are in each table of ours that has any. */
export async function rowsOfOurs(db: Database): Promise<Record<string, number>> {
  const { rows: tables } = await db.admin.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class
      where relkind in ('r', 'p') and not relispartition and (relnamespace = 'tokenbook'::regnamespace or relnamespace = 'public'::regnamespace and relname = any ($1))
      order by 1`,
    [(await takenNames()).relations],
  );
  const found: Record<string, number> = {};
  for (const { name } of tables) {
    const { rows } = await db.admin.query(`select count(*)::int from ${name}`);
    if (rows[0].count > 0) found[name] = rows[0].count;
  }
  return found;
}

/** The statements of the list of an install that refused, in their order. */
export const statementsOf = (refusal: string): string[] =>
  refusal
    .split("\n")
    .filter((line) => /^ {6}(?!used by ).*;$/.test(line))
    .map((line) => line.trim());
