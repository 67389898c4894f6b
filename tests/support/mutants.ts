/** Known-bad variants of the books: each is what a test must be able to see. */
import { readFile } from "node:fs/promises";
import pg from "pg";
import type { Database } from "./database.ts";

/**
 * Puts `tests/proofs/mutants/<name>.sql` into a database of its own; never into one that other tests use.
 *
 * A mutant says with `select pg_temp.mutate('tokenbook.spend_tokens', 'what it says', 'what it shall say')`
 * what is wrong with it, and is otherwise the function as it is now. What it looks for must be there
 * exactly once, so that a mutant that no longer breaks anything fails instead of passing for one.
 */
export async function applyMutant(db: Database, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: db.url("postgres") });
  await client.connect();
  try {
    await client.query(mutate);
    await client.query(await mutantNamed(name));
  } finally {
    await client.end();
  }
}

/** What a mutant says. */
export function mutantNamed(name: string): Promise<string> {
  return readFile(new URL(`../proofs/mutants/${name}.sql`, import.meta.url), "utf8");
}

/** Makes `pg_temp.mutate`, for the session that runs it. */
export const mutate = `
create function pg_temp.mutate(p_function text, p_from text, p_to text) returns void language plpgsql as $$
declare
  v_definition text := pg_get_functiondef(p_function::regproc);
  v_found integer := (length(v_definition) - length(replace(v_definition, p_from, ''))) / length(p_from);
begin
  if v_found <> 1 then
    raise exception '% says "%" % times, not once', p_function, p_from, v_found;
  end if;
  execute replace(v_definition, p_from, p_to);
end
$$`;
