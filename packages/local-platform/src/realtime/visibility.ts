import pg from "pg";
import type { ApiDatabase } from "../rest/database.ts";
import type { Caller } from "../gateway/caller.ts";
import type { TableNow } from "./tables.ts";

/**
 * Which rows somebody may read now: Postgres is asked for them by their keys, as their role and with their claims, so
 * that privileges and row level security decide. Whatever fails, a policy or the connection, shows nothing.
 *
 * @param database connected as `authenticator`.
 * @param keys of each row, in the order of `table.keys`.
 * @returns numbers of the rows, from 0.
 */
export async function rowsSeenBy(
  database: ApiDatabase,
  caller: Caller,
  table: TableNow,
  keys: string[][],
): Promise<Set<number>> {
  const names = table.keys.map((_, i) => `k${i}`);
  const same = table.keys.map(
    ({ name, cast }, i) => `t.${pg.escapeIdentifier(name)} = k.${names[i]!}::${cast}`,
  );
  const text = `
    select k.n from unnest(${names.map((_, i) => `$${i + 1}::text[]`).join(", ")}) with ordinality as k(${names.join(", ")}, n)
     where exists (select from ${table.sqlName} as t where ${same.join(" and ")})`;
  const values = table.keys.map((_, i) => keys.map((key) => key[i]!));
  const settings = [
    ["search_path", "public, extensions"],
    ["request.jwt.claims", JSON.stringify(caller.claims)],
    ["role", caller.role],
  ] as const;
  try {
    const rows = await database.run(settings, { text, values }, false);
    return new Set(rows.map(({ n }) => Number(n) - 1));
  } catch (error) {
    const { code, name } = error as { code?: string; name?: string };
    console.error(`realtime: ${table.sqlName} could not be read as ${caller.role}: ${code ?? name}`);
    return new Set();
  }
}
