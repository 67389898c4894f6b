import { accessSync, constants, existsSync, statSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { supabase, withoutPassword } from "local-platform/project/supabase-cli";
import { Failure } from "local-platform/terminal/failure";
import { byWhom, databaseCommand, onDatabase, Refusal } from "../command.ts";
import { addAdmin, lookAtFutureAdmin } from "../data/admins.ts";
import { lastReport, reportsSince } from "../data/migration-reports.ts";
import type { Target } from "../database/target.ts";
import { lookAround } from "../install/look.ts";
import { folderObstacles, obstacleLines } from "../install/obstacles.ts";
import { planInstall, unwritePlan, writePlan, type Plan } from "../install/plan.ts";
import { checkJson, checkText } from "../install/report.ts";
import { applyWritten, requireAlone } from "../project/apply.ts";
import { findProjectRoot } from "../project/folder.ts";
import { readChoice, usualFunctions } from "../project/functions.ts";
import { fileVersions } from "../project/migration-files.ts";
import { findSupabaseCli } from "../project/supabase-cli.ts";
import { agrees } from "../terminal/ask.ts";
import { createVoice, type Voice } from "../terminal/voice.ts";
import { whatTheRoleMeans } from "./admin.ts";

/** `tokenbook install`: into the project of this folder. */
export const install = databaseCommand(
  "install",
  "Installs Tokenbook into the project in this folder and its database.",
  `Writes one migration (and one for the scheduled jobs, which a project may not be able to have), the edge functions,
their blocks of config.toml and supabase/tokenbook.json, and applies the migrations with the project's own Supabase
CLI, after \`check\`. With --write-only it writes the files and applies nothing: the migration itself looks first when it
is applied, and refuses with the same list.`,
)
  .option(
    "--functions <names>",
    "edge functions to install: all, none, or names; <name>:<other name> calls one otherwise",
    usualFunctions.join(","),
  )
  .option("--admin <email>", "makes this user an administrator")
  .option("--types <file>", "writes the database's types there, as `supabase gen types` does")
  .option("--write-only", "applies nothing")
  .option("--yes", "does not ask")
  .option("--json", "for machines")
  .action(async ({ functions, admin, types, writeOnly, yes, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const chosen = readChoice(functions);
    const root = findProjectRoot(where.workdir);
    if (writeOnly) {
      if (admin !== undefined || types !== undefined) {
        throw new Failure(
          "--admin and --types are of a database that has it: give them without --write-only.",
        );
      }
      const obstacles = folderObstacles(root, chosen);
      if (obstacles.length > 0)
        throw new Refusal(["In the way:", ...obstacles.map(obstacleLines)].join("\n"));
      const plan = await planInstall(chosen, fileVersions(root));
      writePlan(root, plan);
      say(
        `${written(plan)}\n\nNothing was applied. supabase migration up (hosted: supabase db push) does, as your CI and your\npreview branches will; then: npx tokenbook admin add <email>`,
      );
      answer(documentOf(plan, []));
      return;
    }

    await onDatabase(where, async (client, target) => {
      await requireAlone(client, target.name);
      const report = await lookAround(client, target, root, chosen);
      if (report.obstacles.length > 0) {
        console.log(json ? checkJson(report) : checkText(report, null));
        throw new Refusal("Nothing was changed.");
      }
      const cli = findSupabaseCli(root);
      // what would fail afterwards is found out before
      if (admin !== undefined) await lookAtFutureAdmin(client, admin);
      if (types !== undefined) requireWritable(types);
      if (!yes) {
        say(checkText(report, null));
        await agrees(`Install Tokenbook ${report.plan.version} into ${target.name}?`);
      }
      const { plan } = report;
      const before = await lastReport(client);
      writePlan(root, plan);
      say(written(plan));
      const begin = performance.now();
      const onFile = (file: string) => say(`  applying ${file}`);
      const applied = await applyWritten(
        client,
        { url: target.url, workdir: root, cli, onFile },
        plan.migrations.keys(),
        () => unwritePlan(root, plan),
      );
      const seconds = ((performance.now() - begin) / 1000).toFixed(1);
      say(`${applied.length} migrations applied in ${seconds} s.`);
      for (const one of await reportsSince(client, before)) say(one.report.replace(/^/gm, "  "));
      if (admin !== undefined) {
        const { userId, roleSet } = await addAdmin(client, admin, byWhom("install"));
        say(
          `${admin} (${userId}) is an administrator${roleSet ? `, from the next sign-in or token refresh on.\n${whatTheRoleMeans}` : "."}`,
        );
      }
      say(next(admin === undefined, chosen.length > 0));
      if (types !== undefined) await writeTypes(target, root, cli, types, say);
      answer(documentOf(plan, applied));
    });
  });

/** @throws Failure when no file can be written there. */
function requireWritable(file: string): void {
  const path = resolve(file);
  try {
    accessSync(existsSync(path) ? path : dirname(path), constants.W_OK);
  } catch (error) {
    throw new Failure(
      `${file} cannot be written: ${(error as NodeJS.ErrnoException).code}. Nothing was changed.`,
    );
  }
  if (existsSync(path) && !statSync(path).isFile()) {
    throw new Failure(`${file} is there, and is no file. Nothing was changed.`);
  }
}

type Cli = ReturnType<typeof findSupabaseCli>;

async function writeTypes(
  target: Target,
  root: string,
  cli: Cli,
  file: string,
  say: Voice["say"],
): Promise<void> {
  const { bare, env } = withoutPassword(target.url);
  const args = cli.takesRemote
    ? ["gen", "types", `--remote=${bare}`, "--schema", "public"]
    : ["gen", "types", "typescript", `--db-url=${bare}`, "--schema", "public"];
  const { status, stdout, stderr } = await supabase(args, { workdir: root, cli, env });
  if (status !== 0) throw new Failure(`supabase gen types failed, ${file} is not written: ${stderr.trim()}`);
  writeFileSync(resolve(file), stdout);
  say(`The database's types are in ${file}.`);
}

/** What was installed, for machines. */
const documentOf = ({ version, migrations, functions }: Plan, applied: readonly string[]) => ({
  version,
  migrations: [...migrations.keys()].map((path) => `supabase/${path}`),
  functions: functions.map(({ as }) => as),
  applied,
});

function written({ migrations, files, functions }: Plan): string {
  return [
    "Written:",
    ...[...migrations.keys()].map((path) => `  supabase/${path}`),
    ...functions.map(({ as }) => `  supabase/functions/${as}`),
    ...(files.size > 0
      ? [
          "  supabase/functions/_tokenbook, what they share",
          "  supabase/config.toml, their blocks at its end",
        ]
      : []),
    "  supabase/tokenbook.json, the record of this: commit it with the rest",
  ].join("\n");
}

const next = (needsAdmin: boolean, hasFunctions: boolean) =>
  `
Installed. None of your users has got anything. From here:
${needsAdmin ? "  npx tokenbook admin add <email>        who may grant and correct\n" : ""}  npx tokenbook import --help            the balances that your users have
${hasFunctions ? "  supabase functions deploy              the edge functions; their settings: supabase/functions/_tokenbook/env.example\n" : ""}  npx tokenbook doctor                   whether all is as it should be, for your CI`;
