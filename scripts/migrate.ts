/* npm run migrate [-- --remote <url>] [--include-all] [--this-project] */
import { parseArgs } from "node:util";
import { lastReport, reportsSince } from "./data/migration-reports.ts";
import { isAnothersProject } from "./data/projects.ts";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { migrationUp } from "local-platform/project/supabase-cli";
import { chooseTarget, withTarget } from "./target.ts";

const usage = `Applies pending migrations with the Supabase CLI and shows what each had to say.

  npm run migrate                                      the local database
  npm run migrate -- --remote <connection string>      another
  npm run migrate -- --include-all                     also files older than the newest applied one
  npm run migrate -- --this-project                    the remote one is this project's, though nothing in it says so

All migrations are for this repository's own project, and for a project with the tables of November 2025 that becomes it. Another
project gets two generated files instead: README, "Into an existing project".`;

try {
  const { values } = readArguments();
  const target = chooseTarget(values.remote);
  await withTarget(target, async (client) => {
    if (values.remote !== undefined && !values["this-project"] && (await isAnothersProject(client))) {
      throw new Failure(
        `${target.name} has an app of its own and none of this project's migrations; nothing was applied.\n` +
          'To install Tokenbook into it: README, "Into an existing project". The migrations of November 2025 would\n' +
          "take over its tables; if it is the project that they were written for, say --this-project.",
      );
    }
    console.log(`Migrating ${target.name}`);
    const begin = performance.now();
    const before = await lastReport(client);
    const started: string[] = [];
    try {
      await migrationUp({
        url: target.url,
        includeAll: values["include-all"],
        onFile: (file) => {
          started.push(file);
          console.log(`  ${file}`);
        },
      });
    } catch (error) {
      const applied = started.slice(0, -1);
      if (applied.length > 0) await printReports();
      const stays = `${count(applied.length, "migration")} before it stay applied.`;
      throw error instanceof Failure && started.length > 0
        ? new Failure(`${started.at(-1)} was not applied; ${stays}\n${error.message}`)
        : error;
    }
    const reports = await printReports();
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    console.log(
      started.length === 0
        ? "Nothing to apply: the database is up to date."
        : `\n${count(started.length, "migration")} applied in ${seconds} s, ${count(reports, "report")}.`,
    );

    async function printReports(): Promise<number> {
      const written = await reportsSince(client, before);
      for (const { migration, report } of written) {
        console.log(`\n${migration}\n${report.replace(/^/gm, "  ")}`);
      }
      return written.length;
    }
  });
} catch (error) {
  reportFailure(error);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        remote: { type: "string" },
        "include-all": { type: "boolean", default: false },
        "this-project": { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new Failure(`${(error as Error).message}\n\n${usage}`);
  }
}
