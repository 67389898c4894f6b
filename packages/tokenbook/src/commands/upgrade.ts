import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { databaseCommand, onDatabase, Refusal } from "../command.ts";
import { namedAfresh } from "../install/plan.ts";
import { installedVersion } from "../install/obstacles.ts";
import { releases, type Release } from "../install/release.ts";
import { applyWritten } from "../project/apply.ts";
import { findProjectRoot } from "../project/folder.ts";
import { functionFiles } from "../project/functions.ts";
import { fileVersions } from "../project/migration-files.ts";
import { appliedVersions, missingInHistory, requireHistory } from "../project/migrations.ts";
import { digestOf, readRecord, writeRecord, type InstallRecord } from "../project/record.ts";
import { findSupabaseCli } from "../project/supabase-cli.ts";
import { agrees } from "../terminal/ask.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";

/** `tokenbook upgrade`: from an older version to this one. */
export const upgrade = databaseCommand(
  "upgrade",
  "Brings an older version to this one, and says what a caller notices.",
  `Writes the migrations of the releases in between and this version's edge functions, and applies them. A function's
file that was changed since it was installed stays as it is, and the new one is written beside it with the ending .new.`,
)
  .option("--write-only", "applies nothing")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ writeOnly, yes, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const root = findProjectRoot(where.workdir);
    const record = readRecord(root);
    if (record === undefined) {
      throw new Refusal(
        "supabase/tokenbook.json is not here: nothing says what was installed. npx tokenbook install",
      );
    }
    const all = await releases();
    const at = all.findIndex(({ version }) => version === record.version);
    if (at < 0)
      throw new Refusal(
        `This is tokenbook ${all.at(-1)!.version}, and ${record.version} is none that it knows.`,
      );
    const newer = all.slice(at + 1);
    if (newer.length === 0) {
      say(`Tokenbook ${record.version} is installed, and that is this version.`);
      answer({ from: record.version, to: record.version, migrations: [], applied: [], kept: [] });
      return;
    }
    const cli = writeOnly ? undefined : findSupabaseCli(root);
    await onDatabase(where, async (client, target) => {
      const installed = await installedVersion(client);
      if (installed !== record.version) {
        throw new Refusal(
          `The files here are of ${record.version}, and ${target.name} has ${installed ?? "no Tokenbook"}: apply the project's own migrations first.`,
        );
      }
      const known = await appliedVersions(client);
      requireHistory(missingInHistory(root, record.migrations, known), where);
      say(`From ${record.version} to ${newer.at(-1)!.version}. What a caller notices:\n${changesOf(newer)}`);
      if (!yes && cli !== undefined) await agrees(`Upgrade ${target.name}?`);
      const taken = [...known, ...fileVersions(root)];
      const migrations = await namedAfresh(
        newer.flatMap((release) => release.migrations),
        taken,
      );
      for (const [path, text] of migrations)
        writeFileSync(join(root, "supabase", path), text, { flag: "wx" });
      say([...migrations.keys()].map((path) => `Written: supabase/${path}`).join("\n"));
      const applied =
        cli === undefined
          ? []
          : await applyWritten(client, { url: target.url, workdir: root, cli }, migrations.keys(), () => {
              for (const path of migrations.keys()) rmSync(join(root, "supabase", path));
            });
      const kept = updateFiles(root, record, newer, migrations, say);
      say(
        cli === undefined
          ? "Nothing was applied. supabase migration up (hosted: supabase db push) does, as your CI will."
          : `${target.name} has Tokenbook ${await installedVersion(client)} now.`,
      );
      answer({
        from: record.version,
        to: newer.at(-1)!.version,
        migrations: [...migrations.keys()].map((path) => `supabase/${path}`),
        applied,
        kept,
      });
    });
  });

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
  migrations: ReadonlyMap<string, string>,
  say: Voice["say"],
): string[] {
  const kept: string[] = [];
  const files: Record<string, string> = {};
  for (const [path, text] of functionFiles(record.functions)) {
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
    migrations: [
      ...record.migrations,
      ...[...migrations.keys()].map((path) => path.slice("migrations/".length)),
    ],
    files,
  });
  return kept;
}
