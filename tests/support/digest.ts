/** A fingerprint of everything that the books hold. */
import type pg from "pg";

/** SQL that answers one row with one column, `digest`: of every table of ours, whatever is added, but those left out. */
export async function digestQuery(
  client: pg.Pool | pg.ClientBase,
  without: readonly string[] = [],
): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name
       from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ('public', 'tokenbook') and c.relkind in ('r', 'p') and not c.relispartition
      order by 1`,
  );
  const tables = rows
    .filter(({ name }) => !without.includes(name))
    .map(
      ({ name }) =>
        `select '${name}' as name, md5(coalesce(string_agg(md5(x::text), '' order by x::text), '')) as rows from ${name} x`,
    );
  return `select md5(string_agg(t.name || t.rows, '|' order by t.name)) as digest from (${tables.join(" union all ")}) t`;
}
