/** The migrations as `supabase migration up --include-all` runs them, without the half second of its process. */
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { projectRoot } from "../../scripts/project.ts";
import { migrationFiles } from "../../scripts/schema/project-files.ts";
import type { Database } from "./database.ts";

/**
 * Runs those that the project has not had yet, each in a transaction of its own, as `postgres`, and notes them where
 * the CLI does. For tests of what migrations make of a project; that the real CLI runs them is shown by
 * tests/migrations/old-projects/upgrade.test.ts, by tests/install and by the database that every test gets a copy of.
 *
 * @param to the file that is the last; default all.
 * @throws the database's error; files before it stay applied.
 */
export async function migrate(db: Database, { to = "~" }: { to?: string } = {}): Promise<void> {
  const client = await db.admin.connect();
  try {
    await client.query(`
      create schema if not exists supabase_migrations;
      create table if not exists supabase_migrations.schema_migrations (
        version text primary key, statements text[], name text)`);
    const { rows } = await client.query("select version from supabase_migrations.schema_migrations");
    const had = new Set(rows.map(({ version }) => version as string));
    for (const file of await migrationFiles()) {
      const [, version, name] = /^(\d+)_(.*)\.sql$/.exec(basename(file))!;
      if (had.has(version!) || basename(file) > to) continue;
      // several statements in one query are one transaction
      await client.query(await readFile(join(projectRoot, file), "utf8"));
      await client.query(
        "insert into supabase_migrations.schema_migrations (version, name) values ($1, $2)",
        [version, name],
      );
    }
  } finally {
    // with whatever a migration has set for its session
    client.release(true);
  }
}

/** Runs SQL as one transaction, as a migration is run; rolled back where it fails. */
export async function inOneTransaction(db: Database, sql: string): Promise<void> {
  const client = await db.admin.connect();
  try {
    await client.query("begin");
    await client.query(sql);
    await client.query("commit");
  } finally {
    await client.query("rollback");
    client.release();
  }
}
