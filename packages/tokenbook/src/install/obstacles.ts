/** What stands in the way of an install, in a database and in a project's folder. Looks only. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "local-platform/terminal/failure";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import { configuredFunctions, whyNotWithBlocks, type ChosenFunction } from "../project/functions.ts";
import { fileVersions, madeIn, type MigrationFile } from "../project/migration-files.ts";
import { appliedVersions } from "../project/migrations.ts";
import { findSupabaseCli } from "../project/supabase-cli.ts";
import { installCheckSql, namesInPublic } from "./release.ts";

/** One thing that has to be out of the way first. */
export interface Obstacle {
  /** What it is, in words. */
  what: string;
  /** What of the project uses it; null when nothing does. */
  usedBy: string | null;
  /** The role that has to run the statement; null: the role that connects. */
  runAs: string | null;
  /** The statement that mends it, or what a person has to do, beginning with `--`; null: nothing here does. */
  mending: string | null;
}

/** Whether Tokenbook is there already. */
export async function isInstalled(client: SqlClient): Promise<boolean> {
  const [row] = await select<{ is: boolean }>(
    client,
    `select to_regclass('tokenbook.project_settings') is not null
        and to_regclass('public.token_accounts') is not null as is`,
  );
  return row!.is;
}

/** Which version a database has; null: none. */
export async function installedVersion(client: SqlClient): Promise<string | null> {
  if (!(await isInstalled(client))) return null;
  const [row] = await select<{ version: string }>(client, "select tokenbook.version() as version");
  return row!.version;
}

/** Tables of Tokenbook's that are there without it, as after `drop schema tokenbook cascade`. */
export async function tablesLeft(client: SqlClient): Promise<string[]> {
  const rows = await select<{ name: string }>(
    client,
    `select format('public.%I', c.relname) as name from pg_class c
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and c.relname = any ($1::text[])
        and to_regclass('public.token_accounts') is not null and to_regclass('tokenbook.project_settings') is null
      order by 1`,
    [[...(await namesInPublic())]],
  );
  return rows.map(({ name }) => name);
}

/** What the migration itself would refuse, in the order in which the statements are to be run. */
export async function databaseObstacles(client: SqlClient): Promise<Obstacle[]> {
  await client.query("begin");
  try {
    await client.query(await installCheckSql());
    return await select<Obstacle>(
      client,
      `select what, used_by as "usedBy", run_as as "runAs", mending from pg_temp.in_the_way()`,
    );
  } finally {
    await client.query("rollback"); // its functions too
  }
}

/** What the Supabase CLI would refuse: a database that has migrations which this folder has not. */
export async function historyObstacles(client: SqlClient, root: string): Promise<Obstacle[]> {
  const files = fileVersions(root);
  const missing = (await appliedVersions(client)).filter((version) => !files.includes(version));
  if (missing.length === 0) return [];
  const named =
    missing.slice(0, 5).join(", ") + (missing.length > 5 ? ` and ${missing.length - 5} more` : "");
  return [
    {
      what: `the database has ${missing.length === 1 ? "a migration" : `${missing.length} migrations`} without a file here: ${named}`,
      usedBy: null,
      runAs: null,
      mending: "-- supabase migration fetch, or pull the branch that has them",
    },
  ];
}

/** What the Supabase CLI would refuse: a migration that waits, and is older than one that is applied. */
export function lateObstacles(pending: readonly MigrationFile[], applied: readonly string[]): Obstacle[] {
  const newest = applied.at(-1) ?? "";
  return pending
    .filter(({ version }) => version < newest)
    .map(({ file }) => ({
      what: `migration ${file} waits, and is older than ${newest}, which is applied: the Supabase CLI refuses to go on`,
      usedBy: null,
      runAs: null,
      mending:
        "-- supabase migration up --include-all (hosted: supabase db push --include-all), or a newer version",
    }));
}

/** What the Supabase CLI would refuse, and what stands in the way once it has applied what waits: of that the names only. */
export async function pendingObstacles(
  root: string,
  pending: readonly MigrationFile[],
  applied: readonly string[],
): Promise<Obstacle[]> {
  const names = await namesInPublic();
  return [
    ...lateObstacles(pending, applied),
    ...pending.flatMap(({ file }) => {
      const text = readFileSync(join(root, "supabase/migrations", file), "utf8");
      const taken = madeIn(text).filter((name) => names.has(name) || name === "schema tokenbook");
      if (taken.length === 0) return [];
      return [
        {
          what: `migration ${file} waits, and would make first what Tokenbook makes: ${taken.join(", ")}`,
          usedBy: null,
          runAs: null,
          mending: "-- another name, in that file and in what uses it",
        },
      ];
    }),
  ];
}

/** Where nothing of the project's could apply what is written. */
export function cliObstacles(root: string): Obstacle[] {
  try {
    findSupabaseCli(root);
    return [];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [
      {
        what: "there is no Supabase CLI here, neither in node_modules nor installed",
        usedBy: null,
        runAs: null,
        mending:
          "-- npm install --save-dev supabase; or install --write-only, and apply the migrations as you apply yours",
      },
    ];
  }
}

/** Files of the project's own that an install would have to replace. */
export function folderObstacles(root: string, chosen: readonly ChosenFunction[]): Obstacle[] {
  const taken = (what: string, mending: string): Obstacle => ({ what, usedBy: null, runAs: null, mending });
  const config = readFileSync(join(root, "supabase/config.toml"), "utf8");
  const noToml = whyNotWithBlocks(config, []);
  if (noToml !== undefined) {
    return [
      taken(`supabase/config.toml is no TOML: ${noToml}`, "-- mend it; the Supabase CLI refuses it too"),
    ];
  }
  const configured = configuredFunctions(config);
  const free = chosen.filter(({ as }) => !configured.includes(as));
  const noBlocks = whyNotWithBlocks(config, free);
  return [
    ...(noBlocks === undefined
      ? []
      : [
          taken(
            `supabase/config.toml does not take blocks [functions.<name>] at its end: ${noBlocks}`,
            "-- write `functions = { <name> = { … } }` as blocks [functions.<name>]; or --functions none",
          ),
        ]),
    ...(existsSync(join(root, "supabase/tokenbook.json"))
      ? [taken("supabase/tokenbook.json says that it is installed here", "-- npx tokenbook status")]
      : []),
    ...(existsSync(join(root, "supabase/functions/_tokenbook"))
      ? [taken("folder supabase/functions/_tokenbook is there already", "-- look at it, and remove it")]
      : []),
    ...chosen.flatMap(({ name, as }) => {
      const isThere = existsSync(join(root, "supabase/functions", as));
      if (!isThere && !configured.includes(as)) return [];
      return [
        taken(
          isThere
            ? `edge function ${as} is there already`
            : `supabase/config.toml has a block [functions.${as}] already`,
          `-- leave it out of --functions, or give ours another name: --functions ${name}:tokenbook-${name}`,
        ),
      ];
    }),
  ];
}

/** An obstacle as the lines that a person reads. */
export function obstacleLines({ what, usedBy, runAs, mending }: Obstacle): string {
  return [
    `  - ${what}`,
    ...(usedBy === null ? [] : [`      used by ${usedBy} (what uses it follows the new name by itself)`]),
    ...(runAs === null ? [] : [`      -- as ${runAs}:`]),
    ...(mending === null ? [] : [`      ${mending}${mending.startsWith("--") ? "" : ";"}`]),
  ].join("\n");
}
