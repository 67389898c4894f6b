import { databaseCommand, exit, onDatabase } from "../command.ts";
import type { Where } from "../database/target.ts";
import { columnOfSource } from "../import/sources.ts";
import { lookAround } from "../install/look.ts";
import { checkJson, checkText } from "../install/report.ts";
import { findProjectRoot } from "../project/folder.ts";
import { readChoice, usualFunctions } from "../project/functions.ts";

/** `tokenbook check`: whether an install would succeed, and what would happen. */
export const check = databaseCommand(
  "check",
  "Whether an install would succeed here, and what it would do. It changes nothing.",
  `Names everything that is in the way, in the database and in this folder, what uses it, and the statement that mends
it. Ends with 0 only if an install would succeed.`,
)
  .option(
    "--functions <names>",
    "edge functions to install: all, none, or names; <name>:<other name> calls one otherwise",
    usualFunctions.join(","),
  )
  .option("--import <source>", "also: what uses the column that import --from <source> would read")
  .option("--json", "for machines")
  .action(async ({ functions, import: source, json, ...where }) => {
    const chosen = readChoice(functions);
    const column = source === undefined ? undefined : columnOfSource(source);
    const root = findProjectRoot(where.workdir);
    await onDatabase(where, async (client, target) => {
      const report = await lookAround(client, target, root, chosen, column);
      console.log(json ? checkJson(report) : checkText(report, installOf(functions, where)));
      process.exitCode = report.obstacles.length === 0 ? exit.right : exit.wrong;
    });
  });

/** What is to be typed to install what was looked at. */
function installOf(functions: string, { dbUrl, linked, workdir }: Where): string {
  return [
    "npx tokenbook install",
    ...(functions === usualFunctions.join(",") ? [] : [`--functions ${functions}`]),
    // never the password: the person at the screen has the connection string at hand
    ...(dbUrl === undefined ? [] : ["--db-url <connection string>"]),
    ...(linked ? ["--linked"] : []),
    ...(workdir === undefined ? [] : [`--workdir ${workdir}`]),
  ].join(" ");
}
