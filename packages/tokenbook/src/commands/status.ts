import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { databaseCommand, exit, onDatabase } from "../command.ts";
import { listAdmins } from "../data/admins.ts";
import { select } from "../data/client.ts";
import { readBehind, readShadow, type Behind, type Shadow } from "../data/shadow.ts";
import { checkInstallation } from "../data/installation.ts";
import { installedVersion, tablesLeft } from "../install/obstacles.ts";
import { releases } from "../install/release.ts";
import { shadowLine } from "../reports/shadow.ts";
import { readUnwritten } from "../shadow/follow.ts";
import { findProjectRoot } from "../project/folder.ts";
import { appliedVersions, findUnapplied, repairCommand } from "../project/migrations.ts";
import { digestOf, readRecord } from "../project/record.ts";
import { readable } from "../terminal/progress.ts";
import { createVoice } from "../terminal/voice.ts";

/** `tokenbook status`: what is installed here. */
export const status = databaseCommand(
  "status",
  "What is installed here, in the folder and in the database.",
  "Ends with 0 when the two agree and the doctor finds no fault, 1 when not or when nothing is installed.",
)
  .option("--json", "for machines")
  .action(async ({ json, ...where }) => {
    const root = findProjectRoot(where.workdir);
    const record = readRecord(root);
    await onDatabase(where, async (client) => {
      const version = await installedVersion(client);
      const newest = (await releases()).at(-1)!.version;
      const applied = await appliedVersions(client);
      const isApplied = (file: string) => applied.some((one) => file.startsWith(`${one}_`));
      const changed = Object.entries(record?.files ?? {})
        .filter(([path, digest]) => {
          const file = join(root, "supabase", path);
          return !existsSync(file) || digestOf(readFileSync(file, "utf8")) !== digest;
        })
        .map(([path]) => `supabase/${path}`);
      const { unknown, ours, theirs } = await findUnapplied(root, record, applied, version);
      const accounts = version === null ? undefined : await countAccounts(client);
      const counter = version === null ? undefined : await readShadow(client);
      const findings = version === null ? [] : await checkInstallation(client);
      const found = {
        installed: version,
        this_version: newest,
        tables_left: version === null ? await tablesLeft(client) : [],
        folder: record?.version ?? null,
        migrations: (record?.migrations ?? []).map((file) => ({
          file,
          here: existsSync(join(root, "supabase/migrations", file)),
          applied: isApplied(file),
        })),
        repair: unknown.length === 0 ? null : repairCommand(unknown, where),
        waiting: [...ours, ...theirs].map(({ file, version: its }) => ({
          file,
          is_late: its < (applied.at(-1) ?? ""),
        })),
        functions: record?.functions.map(({ as }) => as) ?? [],
        changed_files: changed,
        admins: version === null ? 0 : (await listAdmins(client)).filter(({ hasRole }) => hasRole).length,
        ...(accounts !== undefined && { accounts }),
        jobs: findings.find(({ subject }) => subject === "jobs")?.finding,
        shadow:
          counter === undefined
            ? null
            : { ...counter, ...(await readBehind(client)), ...(await readUnwritten(client, counter)) },
        faults: findings.filter(({ status: one }) => one === "fault").map(({ finding }) => finding),
        warnings: findings.filter(({ status: one }) => one === "warning").length,
      };
      const isRight =
        version !== null &&
        (record === undefined || record.version === version) &&
        found.migrations.every((one) => one.applied || !one.here) &&
        found.faults.length === 0;
      createVoice(json).report(found, asText);
      process.exitCode = isRight ? exit.right : exit.wrong;
    });
  });

async function countAccounts(client: Parameters<typeof select>[0]): Promise<number> {
  const [row] = await select<{ accounts: string }>(
    client,
    "select count(*)::text as accounts from public.token_accounts",
  );
  return Number(row!.accounts);
}

interface Found {
  installed: string | null;
  this_version: string;
  /** Of Tokenbook's in public, where schema tokenbook is gone. */
  tables_left: string[];
  folder: string | null;
  /** Not here: squashed into another file. */
  migrations: { file: string; here: boolean; applied: boolean }[];
  /** What tells the history of migrations what the database has all the same. */
  repair: string | null;
  /** What is to be applied, Tokenbook's or the project's own; late: the Supabase CLI goes on with --include-all only. */
  waiting: { file: string; is_late: boolean }[];
  functions: string[];
  changed_files: string[];
  admins: number;
  accounts?: number;
  jobs: string | undefined;
  shadow: (Shadow & Behind & { not_written?: number }) | null;
  faults: string[];
  warnings: number;
}

function asText(found: Found): string {
  if (found.tables_left.length > 0) {
    return `Schema tokenbook is gone from this database, and ${found.tables_left.length} of its tables are there still: ${found.tables_left.join(", ")}.`;
  }
  if (found.installed === null) {
    if (found.folder === null) {
      return "Tokenbook is not installed in this database, nor in this folder: npx tokenbook check says whether it can be.";
    }
    return found.migrations.some(({ here, applied }) => here && !applied)
      ? `Tokenbook is not installed in this database. The files of ${found.folder} are here, and their migrations wait: supabase migration up (hosted: supabase db push).`
      : `Tokenbook is not in this database any more. The files of ${found.folder} are still here: npx tokenbook uninstall removes them.`;
  }
  return [
    `Tokenbook ${found.installed} is installed${found.installed === found.this_version ? "" : `; this program is ${found.this_version}: npx tokenbook upgrade`}.`,
    `  folder      ${found.folder === null ? "no supabase/tokenbook.json: it was not installed from here" : `the files of ${found.folder}`}`,
    ...found.migrations.map(
      ({ file, here, applied }) =>
        `  migration   ${file}, ${applied ? "applied" : !here ? "squashed: neither in the folder nor in the history" : found.waiting.some((one) => one.file === file) ? "waits" : "NOT in the history of migrations"}`,
    ),
    ...(found.repair === null
      ? []
      : [
          `              They are in the database, as in one restored from a dump. To say so: ${found.repair}`,
        ]),
    ...found.waiting.map(
      ({ file, is_late }) =>
        `  waiting     ${file}${is_late ? ", older than what is applied: supabase migration up --include-all" : ": supabase migration up"} (hosted: supabase db push${is_late ? " --include-all" : ""})`,
    ),
    ...(found.folder !== null && found.folder !== found.installed && found.waiting.length === 0
      ? [
          `              The database has ${found.installed}. To bring the folder there: npx tokenbook upgrade`,
        ]
      : []),
    `  functions   ${found.functions.join(", ") || "none"}`,
    ...found.changed_files.map((file) => `  changed     ${file}`),
    `  admins      ${found.admins || "nobody: npx tokenbook admin add <email>"}`,
    `  accounts    ${readable(found.accounts ?? 0)}`,
    `  jobs        ${found.jobs ?? "not asked for"}`,
    ...(found.shadow === null ? [] : [`  shadow      ${shadowLine(found.shadow)}`]),
    `  doctor      ${found.faults.length === 0 ? "no fault" : `${found.faults.length} faults`}, ${found.warnings} warnings: npx tokenbook doctor`,
  ].join("\n");
}
