import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { allFacts, compareCatalogs, type Catalog } from "../catalog/catalog.ts";
import { databaseCommand, exit, onDatabase, Refusal } from "../command.ts";
import { installedVersion, obstacleLines } from "../install/obstacles.ts";
import { removeEmptyFolders } from "../install/plan.ts";
import { dependents, planRemoval, removalMigration, type Removal } from "../install/removal.ts";
import { exportTables } from "../install/table-files.ts";
import { applyWritten } from "../project/apply.ts";
import { findProjectRoot } from "../project/folder.ts";
import { withoutBlocks } from "../project/functions.ts";
import {
  appliedVersions,
  fileVersions,
  freshVersions,
  missingInHistory,
  requireHistory,
} from "../project/migrations.ts";
import { digestOf, readRecord, type InstallRecord } from "../project/record.ts";
import { findSupabaseCli } from "../project/supabase-cli.ts";
import { agrees } from "../terminal/ask.ts";
import { createProgress, readable } from "../terminal/progress.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";

/** `tokenbook uninstall`: out of the project of this folder again. */
export const uninstall = databaseCommand(
  "uninstall",
  "Takes Tokenbook out of the project and its database again.",
  `Writes every table of Tokenbook's into a folder as CSV, then a migration that drops by name what was made and nothing
else, applies it, compares the database's catalogue before and after, and removes the edge functions, their blocks of
config.toml and supabase/tokenbook.json. The migrations stay: they are the project's history. Files that were changed
since the install stay, and are named. Ends with 1 where anything else of the database changed.`,
)
  .option("--export <folder>", "where the tables go; made, and never one that is there")
  .option("--no-export", "the books are not kept")
  .option("--write-only", "writes the migration, and applies and removes nothing")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ export: folder, writeOnly, yes, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const root = findProjectRoot(where.workdir);
    const record = readRecord(root);
    if (folder === undefined) {
      throw new Failure("Say where the books go: --export <folder>; or that nobody wants them: --no-export.");
    }
    if (typeof folder === "string" && existsSync(folder)) throw new Failure(`${folder} is there already.`);
    await onDatabase(where, async (client, target) => {
      const version = await installedVersion(client);
      if (version === null) throw new Refusal(`Tokenbook is not installed in ${target.name}.`);
      const obstacles = await dependents(client);
      if (obstacles.length > 0) {
        throw new Refusal(
          [
            "Of the project, this depends on Tokenbook:",
            ...obstacles.map(obstacleLines),
            "Nothing was changed.",
          ].join("\n"),
        );
      }
      const applied = await appliedVersions(client);
      if (!writeOnly) requireHistory(missingInHistory(root, record?.migrations ?? [], applied), where);
      const removal = await planRemoval(client);
      const cli = findSupabaseCli(root);
      say(
        `Tokenbook ${version} in ${target.name}: ${removal.objects.length} relations and functions. ` +
          (folder ? `Its tables go to ${folder}.` : "Its books are not kept."),
      );
      if (!yes) await agrees(`Take it out of ${target.name}?`);
      const rows = folder ? await keepBooks(client, folder, say) : 0;

      const taken = [...applied, ...fileVersions(root)];
      const file = `${freshVersions(taken, 1)[0]}_remove_tokenbook.sql`;
      const path = join(root, "supabase/migrations", file);
      writeFileSync(path, removalMigration(version, removal), { flag: "wx" });
      say(`Written: supabase/migrations/${file}`);
      if (writeOnly) {
        say("Nothing was applied or removed.");
        answer({ version, migration: `supabase/migrations/${file}`, exported_rows: rows, applied: false });
        return;
      }
      const before = await allFacts(client);
      await applyWritten(client, { url: target.url, workdir: root, cli }, [file], () => rmSync(path));
      const touched = touchedBy(removal, before, await allFacts(client));
      say(
        touched.length === 0
          ? "Compared with the catalogue of before: all of it is gone, and nothing else has changed."
          : `Compared with the catalogue of before, this has changed too:\n${touched.map((fact) => `  ${fact}`).join("\n")}`,
      );
      const kept = record === undefined ? [] : removeFiles(root, record, say);
      answer({
        version,
        migration: `supabase/migrations/${file}`,
        exported_rows: rows,
        applied: true,
        also_changed: touched,
        kept,
      });
      process.exitCode = touched.length === 0 ? exit.right : exit.wrong;
    });
  });

async function keepBooks(client: pg.Client, folder: string, say: Voice["say"]): Promise<number> {
  const progress = createProgress(process.stderr, { inLogs: true });
  const tables = await exportTables(client, resolve(folder), (table, rows) =>
    progress.show(`${table}: ${readable(rows)} rows`),
  );
  progress.clear();
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  say(`${readable(rows)} rows of ${tables.length} tables are in ${folder}.`);
  return rows;
}

/** In words, every fact of before that is another or gone and not Tokenbook's, and every new one. */
function touchedBy({ names }: Removal, before: Catalog, after: Catalog): string[] {
  const own = new Set(names);
  const isOwn = (object: string) =>
    /\btokenbook(?:_register_user|_shadow_\w+)?\b/.test(object) ||
    [...object.matchAll(/\bpublic\.(\w+)/g)].some(([, name]) => own.has(name!));
  return compareCatalogs(before, after)
    .filter(({ fact, second }) => second !== undefined || !isOwn(fact.slice(0, fact.indexOf(" · "))))
    .map(({ fact, first, second }) => `${fact}: ${first ?? "(none)"} → ${second ?? "(none)"}`);
}

/** @returns the files that were changed since, and stay. */
function removeFiles(root: string, record: InstallRecord, say: Voice["say"]): string[] {
  const changed: string[] = [];
  const gone: string[] = [];
  for (const [path, digest] of Object.entries(record.files)) {
    const file = join(root, "supabase", path);
    if (!existsSync(file)) continue;
    if (digestOf(readFileSync(file, "utf8")) === digest) {
      rmSync(file);
      gone.push(path);
    } else changed.push(path);
  }
  removeEmptyFolders(root, gone);
  const config = join(root, "supabase/config.toml");
  writeFileSync(config, withoutBlocks(readFileSync(config, "utf8"), record.functions));
  rmSync(join(root, "supabase/tokenbook.json"));
  say(`${gone.length} files of edge functions are removed, and their blocks of config.toml.`);
  if (changed.length > 0) {
    say(`These were changed since, and stay:\n${changed.map((path) => `  supabase/${path}`).join("\n")}`);
  }
  return changed.map((path) => `supabase/${path}`);
}
