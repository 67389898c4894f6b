import type { SqlClient } from "../data/client.ts";
import { select } from "../data/client.ts";
import { readBehind, readShadow } from "../data/shadow.ts";
import type { Target } from "../database/target.ts";
import type { ChosenFunction } from "../project/functions.ts";
import { migrationFiles, type MigrationFile } from "../project/migration-files.ts";
import { appliedVersions, waitingNote } from "../project/migrations.ts";
import { readRecord } from "../project/record.ts";
import { shadowLine } from "../reports/shadow.ts";
import {
  cliObstacles,
  databaseObstacles,
  folderObstacles,
  historyObstacles,
  isInstalled,
  pendingObstacles,
  type Obstacle,
} from "./obstacles.ts";
import { planInstall } from "./plan.ts";
import type { CheckReport } from "./report.ts";
import { usesOf, type Source } from "./uses.ts";

/** Everything that an install would meet, and what it would do. Changes nothing. */
export async function lookAround(
  client: SqlClient,
  target: Target,
  root: string,
  chosen: readonly ChosenFunction[],
  source?: Source,
): Promise<CheckReport> {
  const applied = await appliedVersions(client);
  const own = readRecord(root)?.migrations ?? [];
  const files = migrationFiles(root);
  const pending = files.filter(({ file, version }) => !applied.includes(version) && !own.includes(file));
  const installed = await isInstalled(client);
  const obstacles = installed
    ? [alreadyThere]
    : [
        ...(await databaseObstacles(client)),
        ...(await historyObstacles(client, root)),
        ...(await pendingObstacles(root, pending, applied)),
        ...folderObstacles(root, chosen),
        ...cliObstacles(root),
      ];
  return {
    target,
    root,
    isInstalled: installed,
    obstacles,
    notes: [
      ...(installed ? [...(await shadowNotes(client)), ...(await chargeNotes(client))] : []),
      ...(await notesOf(client, pending)),
    ],
    plan: await planInstall(chosen, [...applied, ...files.map(({ version }) => version)]),
    uses: source && (await usesOf(client, source)),
  };
}

const alreadyThere: Obstacle = {
  what: "Tokenbook is installed in this database already",
  usedBy: null,
  runAs: null,
  mending: "-- npx tokenbook status says which version; npx tokenbook upgrade brings a newer one",
};

async function shadowNotes(client: SqlClient): Promise<string[]> {
  const shadow = await readShadow(client);
  return shadow === undefined ? [] : [shadowLine({ ...shadow, ...(await readBehind(client)) })];
}

async function chargeNotes(client: SqlClient): Promise<string[]> {
  const tables = await select<{ name: string }>(
    client,
    `select g.tgrelid::regclass::text as name from pg_trigger g
      where g.tgfoid = to_regprocedure('tokenbook.charge_for_row()') order by 1`,
  );
  return tables.map(({ name }) => `What is inserted into ${name} is paid for: trigger tokenbook_charge.`);
}

async function notesOf(client: SqlClient, pending: readonly MigrationFile[]): Promise<string[]> {
  const waiting = waitingNote(pending);
  const [has] = await select<{ cron: boolean }>(
    client,
    "select exists (select from pg_available_extensions where name = 'pg_cron') as cron",
  );
  return [
    ...(waiting === undefined ? [] : [waiting]),
    ...(has!.cron
      ? []
      : [
          "pg_cron is not available here: nothing depends on it, what has expired is booked by the next call for the account",
        ]),
  ];
}
