import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { databaseCommand, onDatabase, Refusal } from "../command.ts";
import { namedAfresh } from "../install/plan.ts";
import { installedVersion, lateObstacles, obstacleLines } from "../install/obstacles.ts";
import { releases, type PackedMigration, type Release } from "../install/release.ts";
import { removalName } from "../install/removal.ts";
import { applyWritten, requireAlone } from "../project/apply.ts";
import { findProjectRoot } from "../project/folder.ts";
import { functionFiles, type ChosenFunction } from "../project/functions.ts";
import { fileVersions, migrationFiles, type MigrationFile } from "../project/migration-files.ts";
import { appliedVersions, findUnapplied, requireHistory, waitingNote } from "../project/migrations.ts";
import { digestOf, readRecord, writeRecord, type InstallRecord } from "../project/record.ts";
import { findSupabaseCli } from "../project/supabase-cli.ts";
import { agrees } from "../terminal/ask.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";

/** `tokenbook upgrade`: from an older version to this one. */
export const upgrade = databaseCommand(
  "upgrade",
  "Brings an older version to this one, and says what a caller notices.",
  `Writes the migrations of the releases in between and this version's edge functions, and applies them. A function's
file that was changed since it was installed stays as it is, and the new one is written beside it with the ending .new.
An upgrade that was stopped, or of which the database refused a part, goes on where it is.`,
)
  .option("--write-only", "applies nothing")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ writeOnly, yes, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const root = findProjectRoot(where.workdir);
    const all = await releases();
    const here = all.at(-1)!.version;
    await onDatabase(where, async (client, target) => {
      await requireAlone(client, target.name);
      const record = readRecord(root);
      if (record === undefined) {
        throw new Refusal(
          "supabase/tokenbook.json is not here: nothing says what was installed. npx tokenbook install",
        );
      }
      const installed = await installedVersion(client);
      const at = all.findIndex(({ version }) => version === record.version);
      const is = all.findIndex(({ version }) => version === installed);
      if (at < 0)
        throw new Refusal(`This is tokenbook ${here}, and ${record.version} is none that it knows.`);
      if (installed === null || (is >= 0 && is < at)) {
        throw new Refusal(
          `The files here are of ${record.version}, and ${target.name} has ${installed ?? "no Tokenbook"}: apply their migrations first. supabase migration up (hosted: supabase db push)`,
        );
      }
      if (is < 0) {
        throw new Refusal(
          `This is tokenbook ${here}, and ${installed}, which ${target.name} has, is none that it knows.`,
        );
      }
      const known = await appliedVersions(client);
      const { unknown, ours, theirs } = await findUnapplied(root, record, known, installed);
      requireHistory(unknown, where);
      const left = ours.filter(({ file }) => record.migrations.includes(file));
      if (left.length > 0) {
        throw new Refusal(
          `Of ${record.version} these wait: ${left.map(({ file }) => file).join(", ")}. Apply them first: supabase migration up (hosted: supabase db push)`,
        );
      }
      const newer = all.slice(at + 1);
      if (newer.length === 0) {
        say(`Tokenbook ${record.version} is installed, and that is this version.`);
        answer({ from: record.version, to: record.version, migrations: [], applied: [], kept: [] });
        return;
      }
      const { there, missing } = begunUpgrade(root, record, newer);
      const absent = missing.filter(({ name }) =>
        newer.slice(0, is - at).some(({ migrations }) => migrations.some((one) => one.name === name)),
      );
      if (absent.length > 0) {
        throw new Refusal(
          `${target.name} has ${installed} already, and its migrations are not here (${absent.map(({ name }) => name).join(", ")}): pull the branch that has them, or supabase migration fetch.`,
        );
      }
      const waiting = [...theirs, ...ours];
      const removal = theirs.find(({ name }) => name === removalName);
      if (removal !== undefined) {
        throw new Refusal(
          `${removal.file} waits, and takes Tokenbook out: apply it, or delete it. Nothing was changed.`,
        );
      }
      const cli = writeOnly ? undefined : findSupabaseCli(root);
      const late = cli === undefined ? [] : lateObstacles(waiting, known);
      if (late.length > 0) {
        throw new Refusal(["Nothing was changed.", ...late.map(obstacleLines)].join("\n"));
      }

      say(`From ${record.version} to ${here}. What a caller notices:\n${changesOf(newer)}`);
      if (there.length > 0) {
        say(
          `Begun before: ${there.map(({ file }) => `${file} ${known.includes(file.split("_")[0]!) ? "is applied" : "waits"}`).join(", ")}.`,
        );
      }
      if (theirs.length > 0) say(`${waitingNote(theirs)}.`);
      if (!yes && cli !== undefined) await agrees(`Upgrade ${target.name}?`);
      const written = await namedAfresh(missing, [...known, ...fileVersions(root)]);
      for (const [path, text] of written) {
        writeFileSync(join(root, "supabase", path), text, { flag: "wx" });
      }
      if (written.size > 0) say([...written.keys()].map((path) => `Written: supabase/${path}`).join("\n"));
      const migrations = [...there.map(({ file }) => `migrations/${file}`), ...written.keys()];
      const toApply = migrations.filter((path) => !known.includes(basename(path).split("_")[0]!));
      const applied =
        cli === undefined || toApply.length === 0
          ? []
          : await applyWritten(client, { url: target.url, workdir: root, cli }, toApply, () => {
              for (const path of written.keys()) rmSync(join(root, "supabase", path));
            });
      const kept = updateFiles(root, record, newer, migrations, say);
      say(
        cli === undefined && toApply.length > 0
          ? "Nothing was applied. supabase migration up (hosted: supabase db push) does, as your CI will."
          : `${target.name} has Tokenbook ${await installedVersion(client)} now.`,
      );
      answer({
        from: record.version,
        to: here,
        migrations: migrations.map((path) => `supabase/${path}`),
        applied,
        kept,
      });
    });
  });

/** What an upgrade that did not come to its end has written of these releases, and what not. */
function begunUpgrade(
  root: string,
  record: InstallRecord,
  newer: readonly Release[],
): { there: MigrationFile[]; missing: PackedMigration[] } {
  const newest = record.migrations.at(-1)?.split("_")[0] ?? "";
  const files = migrationFiles(root).filter(({ version }) => version > newest);
  const packed = newer.flatMap(({ migrations }) => migrations);
  return {
    there: files.filter((file) => packed.some(({ name }) => name === file.name)),
    missing: packed.filter(({ name }) => !files.some((file) => file.name === name)),
  };
}

const changesOf = (newer: readonly Release[]): string =>
  newer
    .flatMap(({ version, changes = [] }) =>
      changes.length === 0 ? [`${version}: nothing`] : changes.map((one) => `${version}: ${one}`),
    )
    .map((line) => `  - ${line}`)
    .join("\n");

/** @returns the files that were changed here and stay. */
function updateFiles(
  root: string,
  record: InstallRecord,
  newer: readonly Release[],
  migrations: readonly string[],
  say: Voice["say"],
): string[] {
  const kept: string[] = [];
  const files: Record<string, string> = {};
  const isHere = ({ as }: ChosenFunction) => existsSync(join(root, "supabase/functions", as));
  for (const { as } of record.functions.filter((one) => !isHere(one))) {
    say(`supabase/functions/${as} was deleted here, and is not written again.`);
  }
  for (const [path, text] of functionFiles(record.functions.filter(isHere))) {
    const name = `functions/${path}`;
    const file = join(root, "supabase", name);
    const is = existsSync(file) ? digestOf(readFileSync(file, "utf8")) : undefined;
    const isTheirs = is !== undefined && is !== record.files[name] && is !== digestOf(text);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(isTheirs ? `${file}.new` : file, text);
    files[name] = digestOf(text);
    if (!isTheirs) continue;
    kept.push(`supabase/${name}`);
    say(`supabase/${name} was changed here and stays: see ${name}.new`);
  }
  // what the newer version has no more, and nobody has changed
  for (const [name, digest] of Object.entries(record.files)) {
    const file = join(root, "supabase", name);
    if (!(name in files) && existsSync(file) && digestOf(readFileSync(file, "utf8")) === digest) rmSync(file);
  }
  writeRecord(root, {
    ...record,
    version: newer.at(-1)!.version,
    migrations: [...record.migrations, ...migrations.map((path) => path.slice("migrations/".length))],
    files,
  });
  return kept;
}
