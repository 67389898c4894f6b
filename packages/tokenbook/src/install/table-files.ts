import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { Failure } from "local-platform/terminal/failure";
import { select } from "../data/client.ts";

/** A table's file, and how many rows it has. */
export interface TableFile {
  table: string;
  rows: number;
}

/**
 * Writes every table of Tokenbook's as CSV, with a line of names first, all in one snapshot, for the owner's eyes only:
 * they hold users' data, and one a secret.
 *
 * @throws Failure when the folder is there, or cannot be made.
 */
export async function exportTables(
  client: pg.Client,
  folder: string,
  onTable: (table: string, rows: number) => void,
): Promise<TableFile[]> {
  try {
    await mkdir(dirname(folder), { recursive: true });
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    throw new Failure(`${folder} cannot be made: ${(error as NodeJS.ErrnoException).code}.`);
  }
  await client.query("begin isolation level repeatable read read only");
  try {
    const tables = await select<{ name: string }>(
      client,
      `select format('%I.%I', n.nspname, c.relname) as name
         from tokenbook.own_objects() o
         join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object and c.relkind in ('r', 'p') and not c.relispartition
         join pg_namespace n on n.oid = c.relnamespace
        order by 1`,
    );
    const files: TableFile[] = [];
    for (const { name } of tables) {
      const copy = client.query(copyTo(`copy (select * from ${name}) to stdout with (format csv, header)`));
      await pipeline(
        copy,
        createWriteStream(join(folder, `${name}.csv`), { flags: "wx", flush: true, mode: 0o600 }),
      );
      files.push({ table: name, rows: copy.rowCount ?? 0 });
      onTable(name, copy.rowCount ?? 0);
    }
    return files;
  } finally {
    await client.query("rollback");
  }
}
