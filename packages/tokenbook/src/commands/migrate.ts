import { migrationUp } from "local-platform/project/supabase-cli";
import { Failure } from "local-platform/terminal/failure";
import { databaseCommand, onDatabase, Refusal } from "../command.ts";
import { lastReport, reportsSince } from "../data/migration-reports.ts";
import { isAnothersProject } from "../data/projects.ts";
import { findProjectRoot } from "../project/folder.ts";
import { findSupabaseCli } from "../project/supabase-cli.ts";
import { count } from "../terminal/progress.ts";
import { createVoice } from "../terminal/voice.ts";

/** `tokenbook migrate`: pending migrations, and what each had to say. */
export const migrate = databaseCommand(
  "migrate",
  "Applies pending migrations with the Supabase CLI and shows what each had to say.",
  `The repository's own migrations are for its own project, and for a project with the tables of November 2025 that
becomes it. Any other project gets its migration from \`tokenbook install\`.`,
)
  .option("--include-all", "also files older than the newest applied one")
  .option("--this-project", "the database is this project's, though nothing in it says so")
  .option("--json", "for machines")
  .action(async ({ includeAll, thisProject, json, ...where }) => {
    const { say, answer } = createVoice(json);
    const root = findProjectRoot(where.workdir);
    await onDatabase(where, async (client, target) => {
      if (target.isOwn === null && !thisProject && (await isAnothersProject(client))) {
        throw new Refusal(
          `${target.name} has an app of its own and none of this project's migrations; nothing was applied.\n` +
            "To install Tokenbook into it, in its own folder: npx tokenbook install. The migrations of November 2025 would\n" +
            "take over its tables; if it is the project that they were written for, say --this-project.",
        );
      }
      const begin = performance.now();
      const before = await lastReport(client);
      const started: string[] = [];
      try {
        await migrationUp({
          url: target.url,
          workdir: root,
          cli: findSupabaseCli(root),
          includeAll,
          onFile: (file) => {
            started.push(file);
            say(`  ${file}`);
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
      say(
        started.length === 0
          ? "Nothing to apply: the database is up to date."
          : `\n${count(started.length, "migration")} applied in ${seconds} s, ${count(reports.length, "report")}.`,
      );
      answer({ applied: started, reports });

      async function printReports() {
        const written = await reportsSince(client, before);
        for (const { migration, report } of written) {
          say(`\n${migration}\n${report.replace(/^/gm, "  ")}`);
        }
        return written;
      }
    });
  });
