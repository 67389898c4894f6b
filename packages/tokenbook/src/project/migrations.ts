/** The migrations of a project: the files, and what its database has of them. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";

/** A file as the Supabase CLI takes it: 14 digits or fewer, and a name. */
const migrationName = /^(\d+)_(.*)\.sql$/;

/** The versions of the files, oldest first. */
export function fileVersions(root: string): string[] {
  const folder = join(root, "supabase/migrations");
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((file) => migrationName.exec(file)?.[1])
    .filter((version) => version !== undefined)
    .toSorted();
}

/** The versions that a database has, oldest first. */
export async function appliedVersions(client: SqlClient): Promise<string[]> {
  const [history] = await select<{ is: boolean }>(
    client,
    "select to_regclass('supabase_migrations.schema_migrations') is not null as is",
  );
  if (!history!.is) return [];
  const rows = await select<{ version: string }>(
    client,
    "select version from supabase_migrations.schema_migrations order by version",
  );
  return rows.map(({ version }) => version);
}

/**
 * As many versions as are wanted, newer than every one there is and, if that is so, of now: a team's next file is
 * newer again.
 *
 * @param taken of files and of the database.
 */
export function freshVersions(taken: readonly string[], wanted: number, now = new Date()): string[] {
  const newest = taken
    .filter((version) => /^\d{14}$/.test(version))
    .toSorted()
    .at(-1);
  const free =
    newest === undefined ? now : new Date(Math.max(now.getTime(), dateOf(newest).getTime() + 1000));
  return Array.from({ length: wanted }, (_, nth) => versionOf(new Date(free.getTime() + nth * 1000)));
}

function versionOf(date: Date): string {
  return date.toISOString().replaceAll(/\D/g, "").slice(0, 14);
}

/** Some number versions by hand, 20261301000000: the day after it is a version all the same. */
function dateOf(version: string): Date {
  const [year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/
    .exec(version)!
    .slice(1)
    .map(Number) as [number, number, number, number, number, number];
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}
