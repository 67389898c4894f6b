import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** What a data migration had to say. */
export interface MigrationReport {
  /** Name of the migration file, without its extension. */
  migration: string;
  report: string;
}

/** The newest report's number; 0 when there is none, or no table for them yet. */
export async function lastReport(client: SqlClient): Promise<number> {
  try {
    const [row] = await select<{ last: string | number | null }>(
      client,
      "select max(id) as last from tokenbook.migration_reports",
    );
    return Number(row?.last ?? 0);
  } catch (error) {
    const undefinedTable = "42P01";
    if ((error as { code?: string }).code === undefinedTable) return 0;
    throw error;
  }
}

/** The reports written after the one with that number, in order. */
export async function reportsSince(client: SqlClient, last: number): Promise<MigrationReport[]> {
  if ((await lastReport(client)) <= last) return [];
  return await select<MigrationReport>(
    client,
    "select migration, report from tokenbook.migration_reports where id > $1 order by id",
    [last],
  );
}
