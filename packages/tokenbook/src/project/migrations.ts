/** The migrations of a project: what its database has of the files. */
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import type { Where } from "../database/target.ts";
import { fileVersions } from "./migration-files.ts";

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
 * Versions of files here that a database has by what is in it, and not by its history of migrations, which a dump leaves
 * out: of a database with Tokenbook those of its migrations, and every older file, for they are applied in order.
 *
 * @param migrations of the install's record: file names, in their order.
 */
export function missingInHistory(
  root: string,
  migrations: readonly string[],
  applied: readonly string[],
): string[] {
  const newest = migrations.at(-1)?.split("_")[0] ?? "";
  return fileVersions(root).filter((version) => version <= newest && !applied.includes(version));
}

/** What says so to the history, as a person types it. */
export function repairCommand(versions: readonly string[], { dbUrl, linked }: Where): string {
  // never the password: whoever reads the screen has the connection string at hand
  const target = linked ? " --remote" : dbUrl === undefined ? "" : " --remote=<connection string>";
  return `supabase migration repair${target} --status applied ${versions.join(" ")}`;
}

/**
 * Before anything is applied: the CLI would begin with what it takes to be missing.
 *
 * @throws Refusal with what is to be typed first.
 */
export function requireHistory(missing: readonly string[], where: Where): void {
  if (missing.length === 0) return;
  throw new Refusal(
    "The database has Tokenbook, and its history of migrations does not know it, as after restoring a dump. Say so first:\n" +
      `  ${repairCommand(missing, where)}`,
  );
}

/**
 * As many versions as are wanted, newer than every one there is and, if that is so, of now: a team's next file is
 * newer again.
 *
 * @param taken of files and of the database.
 * @throws Failure where none could be newer.
 */
export function freshVersions(taken: readonly string[], wanted: number, now = new Date()): string[] {
  const newest = taken
    .filter((version) => /^\d{14}$/.test(version))
    .toSorted()
    .at(-1);
  const free =
    newest === undefined ? now : new Date(Math.max(now.getTime(), dateOf(newest).getTime() + 1000));
  if (free.getTime() + wanted * 1000 > Date.UTC(9999, 11, 31)) {
    throw new Failure(
      `The migration ${newest} is no moment that another could be newer than: give it a date.`,
    );
  }
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
