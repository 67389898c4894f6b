import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";

/**
 * Runs supabase/seed.sql, once in a database's life: what people do to the demo data afterwards stays.
 * Keeps its record where the Supabase CLI keeps the same (`db push --include-seed`), so that neither
 * repeats the other.
 *
 * @returns whether it ran.
 */
export async function seedOnce(url: string, root: string): Promise<boolean> {
  const path = "supabase/seed.sql";
  const sql = readFileSync(join(root, path), "utf8");
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("begin");
    await client.query(
      `create schema if not exists supabase_migrations;
       create table if not exists supabase_migrations.seed_files (path text primary key, hash text not null)`,
    );
    const record = await client.query(
      "insert into supabase_migrations.seed_files values ($1, $2) on conflict (path) do nothing",
      [path, createHash("sha256").update(sql).digest("hex")],
    );
    const isFirst = record.rowCount === 1;
    if (isFirst) await client.query(sql);
    await client.query("commit");
    return isFirst;
  } finally {
    // An open transaction is rolled back with its connection.
    await client.end();
  }
}
