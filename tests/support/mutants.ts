/** Known-bad variants of the books: each is what a test must be able to see. */
import { readFile } from "node:fs/promises";
import pg from "pg";
import type { Database } from "./database.ts";

/** Puts `tests/mutants/<name>.sql` into a database of its own; never into one that other tests use. */
export async function applyMutant(db: Database, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: db.url("postgres") });
  await client.connect();
  try {
    await client.query(await readFile(new URL(`../mutants/${name}.sql`, import.meta.url), "utf8"));
  } finally {
    await client.end();
  }
}
