/** The migrations of a project: what its database has of the files. */
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import type { Where } from "../database/target.ts";
import { releases } from "../install/release.ts";
import { migrationFiles, type MigrationFile } from "./migration-files.ts";
import type { InstallRecord } from "./record.ts";

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

/** The files here that a history of migrations does not have. */
export interface Unapplied {
  /** Versions that the database has by what is in it, as after a dump, which leaves the history out. */
  unknown: string[];
  /** What waits to be applied: Tokenbook's own, and the project's. */
  ours: MigrationFile[];
  theirs: MigrationFile[];
}

/**
 * Tells apart what waits and what is only missing in the history. That is lost where it does not have Tokenbook's first
 * migration either, and then the database has the files up to Tokenbook's newest of its version, for they are applied in
 * order.
 *
 * @param installed the version that the database has; null: none.
 */
export async function findUnapplied(
  root: string,
  record: InstallRecord | undefined,
  applied: readonly string[],
  installed: string | null,
): Promise<Unapplied> {
  const all = await releases();
  const files = migrationFiles(root);
  const recorded = record?.migrations ?? [];
  const versions = recorded.map((file) => file.split("_")[0]!);
  const releaseOf = (name: string) =>
    all.findIndex(({ migrations }) => migrations.some((one) => one.name === name));
  const isOurs = ({ file, version, name }: MigrationFile) =>
    recorded.includes(file) ||
    (version > (versions.at(-1) ?? "") && record !== undefined && releaseOf(name) > 0);

  const at = all.findIndex(({ version }) => version === installed);
  const has = versions.filter((_, nth) => {
    const release = releaseOf(nameOf(recorded[nth]!));
    return at < 0 || release <= at;
  });
  // of squashed migrations neither the files nor the history say anything
  const first = recorded.find((file) => files.some((one) => one.file === file))?.split("_")[0];
  const isLost =
    installed !== null &&
    (first === undefined
      ? has.length > 0 && !applied.some((version) => version <= has.at(-1)!)
      : !applied.includes(first));
  const isUnknown = ({ version }: MigrationFile) => isLost && version <= (has.at(-1) ?? "");

  const missing = files.filter(({ version }) => !applied.includes(version));
  const waiting = missing.filter((one) => !isUnknown(one));
  return {
    unknown: missing.filter(isUnknown).map(({ version }) => version),
    ours: waiting.filter(isOurs),
    theirs: waiting.filter((one) => !isOurs(one)),
  };
}

/** What a file is called behind its version. */
const nameOf = (file: string): string => file.replace(/^\d+_/, "").replace(/\.sql$/, "");

/** That migrations of the project's own are applied first, in a sentence; undefined, where none waits. */
export function waitingNote(theirs: readonly MigrationFile[]): string | undefined {
  if (theirs.length === 0) return undefined;
  const many =
    theirs.length === 1 ? "1 of your own migrations is" : `${theirs.length} of your own migrations are`;
  return `${many} not applied yet, and would be applied first, with ours (${theirs.map(({ file }) => file).join(", ")}): what they do is not known here, but for the names that they make`;
}

/** What says so to the history, as a person types it. */
export function repairCommand(versions: readonly string[], { dbUrl, linked }: Where): string {
  // never the password: the person at the screen has the connection string at hand
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
