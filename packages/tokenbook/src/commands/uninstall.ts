import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { allFacts, compareCatalogs, type Catalog } from "../catalog/catalog.ts";
import { databaseCommand, exit, onDatabase, Refusal } from "../command.ts";
import {
  installedVersion,
  lateObstacles,
  obstacleLines,
  tablesLeft,
  type Obstacle,
} from "../install/obstacles.ts";
import { removeEmptyFolders } from "../install/plan.ts";
import {
  dependents,
  findStrangers,
  findSwitched,
  mentions,
  planRemoval,
  removalMigration,
  removalName,
  type Removal,
} from "../install/removal.ts";
import { exportTables, type TableFile } from "../install/table-files.ts";
import { applyWritten, requireAlone } from "../project/apply.ts";
import { findProjectRoot } from "../project/folder.ts";
import { functionFiles, importersOf, withoutBlocks, type ChosenFunction } from "../project/functions.ts";
import { fileVersions, migrationFiles, type MigrationFile } from "../project/migration-files.ts";
import {
  appliedVersions,
  findUnapplied,
  freshVersions,
  requireHistory,
  waitingNote,
} from "../project/migrations.ts";
import { digestOf, readRecord, type InstallRecord } from "../project/record.ts";
import { findSupabaseCli } from "../project/supabase-cli.ts";
import { bookChanges } from "../shadow/book.ts";
import type { Counter } from "../shadow/counter.ts";
import { keepInStep } from "../shadow/keep-in-step.ts";
import { agrees } from "../terminal/ask.ts";
import { createProgress, readable } from "../terminal/progress.ts";
import { stopsOnSignal } from "../terminal/stop.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";

/** `tokenbook uninstall`: out of the project of this folder again. */
export const uninstall = databaseCommand(
  "uninstall",
  "Takes Tokenbook out of the project and its database again.",
  `Writes every table of Tokenbook's into a folder as CSV, then a migration that drops by name what was made and nothing
else, applies it, compares the database's catalogue before and after, and removes the edge functions, their blocks of
config.toml and supabase/tokenbook.json. The migrations stay: they are the project's history. Files that were changed
since the install stay with what they need, and are named. Where the database has no Tokenbook any more, because the
migration was applied otherwise, it removes what is left in the folder. Ends with 1 where anything else of the database
changed.`,
)
  .option("--export <folder>", "where the tables go; made, and never one that is there")
  .option("--no-export", "the books are not kept")
  .option("--write-only", "writes the migration, and applies and removes nothing")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ export: folder, writeOnly, yes, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const root = findProjectRoot(where.workdir);
    if (typeof folder === "string" && existsSync(folder)) throw new Failure(`${folder} is there already.`);
    await onDatabase(where, async (client, target) => {
      await requireAlone(client, target.name);
      const record = readRecord(root);
      const version = await installedVersion(client);
      const applied = await appliedVersions(client);
      if (version === null) {
        if (record === undefined) {
          throw new Refusal(
            `Tokenbook is not installed in ${target.name}, and nothing of it is in this folder.`,
          );
        }
        const left = await tablesLeft(client);
        if (left.length > 0) {
          throw new Refusal(
            `Schema tokenbook is gone from ${target.name}, and ${left.length} of its tables are there still, which nothing keeps right any more:\n  ${left.join(", ")}\nExport what you want of them, and drop them; then again. Nothing was changed.`,
          );
        }
        await finish(root, record, applied, target.name, { yes, writeOnly }, { say, answer });
        return;
      }
      if (folder === undefined) {
        throw new Failure(
          "Say where the books go: --export <folder>; or that nobody wants them: --no-export.",
        );
      }
      const { unknown, ours, theirs } = await findUnapplied(root, record, applied, version);
      if (!writeOnly) requireHistory(unknown, where);
      const strangers = await findStrangers(client);
      const waiting = theirs.filter(({ name }) => name !== removalName);
      refuseFor("Of the project, this is in schema tokenbook, or has a name of ours:", strangers.inTheWay);
      refuseFor("Of the project, this depends on Tokenbook:", await dependents(client, strangers));
      refuseFor("Of Tokenbook's own migrations these wait:", ours.map(waitingOfOurs));
      if (!writeOnly) refuseFor("Of your own migrations:", lateObstacles(waiting, applied));
      const file = removalFile(root, applied);
      const removal = await planRemoval(client, strangers);
      const switched = await findSwitched(client);
      const mentioned = [
        ...(await mentions(client, strangers)),
        ...importersOf(root, record).map(
          (path) => `supabase/${path} imports of supabase/functions/_tokenbook, which goes`,
        ),
      ];
      const cli = writeOnly ? undefined : findSupabaseCli(root);
      say(
        `Tokenbook ${version} in ${target.name}: ${removal.objects.length} relations and functions. ` +
          (folder ? `Its tables go to ${folder}.` : "Its books are not kept."),
      );
      if (mentioned.length > 0) {
        say(`Of the project's own:\n${mentioned.map((one) => `  - ${one}`).join("\n")}`);
      }
      if (waiting.length > 0) say(`${waitingNote(waiting)}.`);
      if (!yes) await agrees(`Take it out of ${target.name}?`);
      // the removal writes what changes until then, and holds the column's table meanwhile: so that it is little
      if (switched !== undefined && !writeOnly) await writeBalances(client, switched.counter);
      const exported = folder ? await keepBooks(client, folder, say) : undefined;

      const path = join(root, "supabase/migrations", file);
      const former = existsSync(path) ? readFileSync(path, "utf8") : undefined;
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, removalMigration({ version, removal, exported, switched }));
      say(`Written: supabase/migrations/${file}`);
      const document = {
        version,
        migration: `supabase/migrations/${file}`,
        exported_rows: exported?.reduce((sum, { rows }) => sum + rows, 0) ?? 0,
        mentioned_by: mentioned,
        waiting: waiting.map((one) => `supabase/migrations/${one.file}`),
      };
      if (cli === undefined) {
        say(
          "Nothing was applied or removed. supabase migration up (hosted: supabase db push) applies it, as your CI will. Then the\nsame command again, npx tokenbook uninstall, removes the edge functions, their blocks of config.toml and supabase/tokenbook.json.",
        );
        if (exported !== undefined) {
          say(
            "It refuses where the books have moved since this export, and in a database that has others than this one: then again.",
          );
        }
        answer({ ...document, applied: false });
        return;
      }
      const before = await allFacts(client);
      await applyWritten(client, { url: target.url, workdir: root, cli }, [file], () => {
        if (former === undefined) rmSync(path);
        else writeFileSync(path, former);
        if (folder) rmSync(resolve(folder), { recursive: true });
      });
      const touched = touchedBy(removal, before, await allFacts(client));
      say(
        touched.length === 0
          ? "Compared with the catalogue of before: all of it is gone, and nothing else has changed."
          : `Compared with the catalogue of before, this has changed too:\n${touched.map((fact) => `  ${fact}`).join("\n")}`,
      );
      const kept = record === undefined ? [] : removeFiles(root, record, say);
      answer({ ...document, applied: true, also_changed: touched, kept });
      process.exitCode = touched.length === 0 ? exit.right : exit.wrong;
    });
  });

/** @throws Refusal where something is in the way. */
function refuseFor(what: string, obstacles: readonly Obstacle[]): void {
  if (obstacles.length === 0) return;
  throw new Refusal([what, ...obstacles.map(obstacleLines), "Nothing was changed."].join("\n"));
}

/** What is written to take out is what is there, and not what comes first. */
const waitingOfOurs = ({ file }: MigrationFile): Obstacle => ({
  what: `migration ${file} waits`,
  usedBy: null,
  runAs: null,
  mending: "-- supabase migration up (hosted: supabase db push); or delete it, where no database has it",
});

/** What the app still wrote is booked, and everybody's balance is in its column. */
async function writeBalances(client: pg.Client, counter: Counter): Promise<void> {
  const stop = stopsOnSignal();
  await bookChanges(client, stop, () => {});
  await keepInStep(client, counter, stop);
  if (stop.aborted) throw new Refusal("Stopped: nothing was removed.");
}

/**
 * The migration's file: one of an earlier --write-only that still waits is written anew.
 *
 * @throws Refusal where the Supabase CLI would not take that any more.
 */
function removalFile(root: string, applied: readonly string[]): string {
  const waiting = migrationFiles(root).find(
    ({ name, version }) => name === removalName && !applied.includes(version),
  );
  if (waiting === undefined) {
    return `${freshVersions([...applied, ...fileVersions(root)], 1)[0]}_${removalName}.sql`;
  }
  const newest = applied.at(-1) ?? "";
  if (waiting.version < newest) {
    throw new Refusal(
      `supabase/migrations/${waiting.file} waits, and is older than ${newest}, which is applied: delete it, and another is written.`,
    );
  }
  return waiting.file;
}

/** Where the database has no Tokenbook, and the folder has: what is left there goes too. */
async function finish(
  root: string,
  record: InstallRecord,
  applied: readonly string[],
  where: string,
  { yes, writeOnly }: { yes?: true | undefined; writeOnly?: true | undefined },
  { say, answer }: Pick<Voice, "say" | "answer">,
): Promise<void> {
  const waiting = record.migrations.filter(
    (file) => existsSync(join(root, "supabase/migrations", file)) && !applied.includes(file.split("_")[0]!),
  );
  say(
    `${where} has no Tokenbook${waiting.length === 0 ? " any more" : ""}; this folder has the files of ${record.version}.`,
  );
  if (waiting.length > 0) {
    say(
      `Their migrations are not applied there, and would install it:\n${waiting.map((file) => `  supabase/migrations/${file}`).join("\n")}\nWhere no database has them, delete them too.`,
    );
  }
  if (writeOnly) throw new Refusal("There is nothing to write. Without --write-only the files are removed.");
  for (const path of importersOf(root, record)) {
    say(`supabase/${path} imports of supabase/functions/_tokenbook, which goes.`);
  }
  if (!yes)
    await agrees("Remove the edge functions, their blocks of config.toml and supabase/tokenbook.json?");
  const kept = removeFiles(root, record, say);
  answer({ version: null, migration: null, exported_rows: 0, applied: false, also_changed: [], kept });
}

async function keepBooks(client: pg.Client, folder: string, say: Voice["say"]): Promise<TableFile[]> {
  const progress = createProgress(process.stderr, { inLogs: true });
  const tables = await exportTables(client, resolve(folder), (table, rows) =>
    progress.show(`${table}: ${readable(rows)} rows`),
  );
  progress.clear();
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  say(
    `${readable(rows)} rows of ${tables.length} tables are in ${folder}. They hold your users' data, and tokenbook.trial_keys a secret: only\nyou can read them; keep them out of the repository.`,
  );
  return tables;
}

/** In words, every fact of before that is another or gone and not Tokenbook's, and every new one. */
function touchedBy({ names }: Removal, before: Catalog, after: Catalog): string[] {
  const own = new Set(names);
  const isOwn = (object: string) =>
    /\btokenbook(?:_register_user|_charge|_shadow_\w+)?\b/.test(object) ||
    [...object.matchAll(/\bpublic\.(\w+)/g)].some(([, name]) => own.has(name!));
  return compareCatalogs(before, after)
    .filter(({ fact, second }) => second !== undefined || !isOwn(fact.slice(0, fact.indexOf(" · "))))
    .map(({ fact, first, second }) => `${fact}: ${first ?? "(none)"} → ${second ?? "(none)"}`);
}

/**
 * Removes what was installed and nobody has changed. A function of which a file was changed stays whole, with what it
 * imports and its block.
 *
 * @returns what stays, by its path.
 */
function removeFiles(root: string, record: InstallRecord, say: Voice["say"]): string[] {
  const isChanged = (path: string): boolean => {
    const file = join(root, "supabase", path);
    return existsSync(file) && digestOf(readFileSync(file, "utf8")) !== record.files[path];
  };
  const all = Object.keys(record.files);
  const changed = all.filter(isChanged);
  const theirs = record.functions.filter(({ as }) =>
    changed.some((path) => path.startsWith(`functions/${as}/`)),
  );
  const needed = new Set([
    ...changed,
    ...all.filter((path) => theirs.some(({ as }) => path.startsWith(`functions/${as}/`))),
    ...[...functionFiles(theirs).keys()].map((path) => `functions/${path}`),
  ]);
  // what an upgrade wrote beside a changed file
  const beside = all.map((path) => `${path}.new`).filter((path) => existsSync(join(root, "supabase", path)));
  const isAsWritten = (path: string) =>
    digestOf(readFileSync(join(root, "supabase", path), "utf8")) ===
    record.files[path.slice(0, -".new".length)];
  const gone = [
    ...all.filter((path) => !needed.has(path) && existsSync(join(root, "supabase", path))),
    ...beside.filter(isAsWritten),
  ];
  const kept = [
    ...all.filter((path) => needed.has(path) && existsSync(join(root, "supabase", path))),
    ...beside.filter((path) => !isAsWritten(path)),
  ];
  const others = record.functions.filter((one) => !theirs.includes(one));
  const config = join(root, "supabase/config.toml");
  const { text, stay } = withoutBlocks(readFileSync(config, "utf8"), others);

  for (const path of gone) rmSync(join(root, "supabase", path));
  removeEmptyFolders(root, gone);
  writeFileSync(config, text);
  rmSync(join(root, "supabase/tokenbook.json"));
  say(
    `${gone.length} files of edge functions are removed${stay.length === 0 ? ", and their blocks of config.toml" : ""}.`,
  );
  const differing = [...changed, ...beside.filter((path) => kept.includes(path))];
  if (differing.length > 0) {
    say(`These were changed since, and stay:\n${differing.map((path) => `  supabase/${path}`).join("\n")}`);
  }
  if (theirs.length > 0) {
    say(
      `So do the other files of ${namesOf(theirs)}, what they import of supabase/functions/_tokenbook, and their blocks of config.toml.\nWhat they ask of Tokenbook in the database is not there any more.`,
    );
  }
  if (stay.length > 0) {
    say(
      `In supabase/config.toml the blocks of ${namesOf(stay)} are not as they were written, and stay: look at them, and remove them.`,
    );
  }
  if (others.length > 0) {
    say(
      `What is deployed stays until it is deleted: ${others.map(({ as }) => `supabase functions delete ${as}`).join("; ")}`,
    );
  }
  say("Commit that, with the migration.");
  return [
    ...kept.map((path) => `supabase/${path}`),
    ...stay.map(({ as }) => `supabase/config.toml [functions.${as}]`),
  ];
}

const namesOf = (functions: readonly ChosenFunction[]): string => functions.map(({ as }) => as).join(", ");
