/** What a statement reads, counted: the same on every machine, however busy it is. */
import type { ClientBase } from "pg";

/** Runs the statement, and says how many pages of tables and indexes it touched, of those that functions touch too. */
export async function pagesTouched(client: ClientBase, sql: string): Promise<number> {
  const { rows } = await client.query(`explain (analyze, buffers, timing off, format json) ${sql}`);
  const plan = rows[0]["QUERY PLAN"][0]["Plan"];
  return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
}
