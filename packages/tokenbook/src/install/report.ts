/** What `tokenbook check` found, for people and for machines. */
import type { Target } from "../database/target.ts";
import { obstacleLines, type Obstacle } from "./obstacles.ts";
import type { Plan } from "./plan.ts";
import type { Uses } from "./uses.ts";

/** All that was looked at. */
export interface CheckReport {
  target: Target;
  root: string;
  isInstalled: boolean;
  obstacles: Obstacle[];
  /** Of the project, and no reason against it. */
  notes: string[];
  plan: Plan;
  /** What uses the column that an import would read; undefined where none was asked for. */
  uses: Uses | undefined;
}

/**
 * How long the migrations take, in seconds, during which sign-ups wait: they make their own tables, empty, and read none
 * of the project's, so its size does not matter. As measured on two cores with nothing else to do, doubled.
 */
const seconds = 5;

export function checkJson({ target, root, obstacles, notes, plan, uses }: CheckReport): string {
  return JSON.stringify(
    {
      would_succeed: obstacles.length === 0,
      version: plan.version,
      database: target.name,
      folder: root,
      in_the_way: obstacles.map(({ what, usedBy, runAs, mending }) => ({
        what,
        used_by: usedBy,
        run_as: runAs,
        mending,
      })),
      notes,
      would_write: [...plan.migrations.keys(), ...plan.files.keys()].map((path) => `supabase/${path}`),
      functions: plan.functions.map(({ as }) => as),
      seconds,
      ...(uses && { import: uses }),
    },
    undefined,
    2,
  );
}

/** @param typed what would install exactly that; null: it is being installed. */
export function checkText(
  { isInstalled, obstacles, notes, plan, uses }: CheckReport,
  typed: string | null,
): string {
  if (isInstalled)
    return [
      "Tokenbook is installed here.",
      ...obstacles.map(obstacleLines),
      ...notes.map((note) => `  note: ${note}`),
    ].join("\n");
  const functions = plan.functions.map(({ as }) => as).join(", ") || "none";
  return [
    ...(obstacles.length === 0
      ? [`Nothing is in the way of Tokenbook ${plan.version}.`]
      : [
          `In the way of Tokenbook ${plan.version}:`,
          ...obstacles.map(obstacleLines),
          ...(obstacles.some(({ mending }) => mending !== null && !mending.startsWith("--"))
            ? ["", howToMend]
            : []),
        ]),
    ...notes.map((note) => `  note: ${note}`),
    ...(uses ? ["", usesText(uses)] : []),
    "",
    `An install writes ${plan.migrations.size} migrations and ${plan.files.size} files of edge functions (${functions}), and applies the migrations, in\none transaction each. Sign-ups wait meanwhile: ${seconds} seconds on a server with two free cores, longer on one that is busy or far\naway. It gives none of your users anything.`,
    ...(obstacles.length > 0
      ? ["It would be refused, and nothing was changed."]
      : typed === null
        ? []
        : [`It would succeed: ${typed}`]),
  ].join("\n");
}

const howToMend =
  "Put the lines that end in a semicolon, in this order, into a migration of your own; where `-- as` and a role stand above\na line, that role must run it. What begins with -- is for you. What cannot be seen from here has to be changed by hand as\nwell: names in SQL that is put together at run time or scheduled, and in what the app sends itself.";

function usesText({ source, table, by }: Uses): string {
  return [
    `${source} would be read by an import, and nothing else. What uses it, and goes on using it until you change it:`,
    ...(by.length === 0 ? ["  nothing in the database"] : by.map((use) => `  - ${use}`)),
    `To follow it while both run: npx tokenbook shadow, which puts a trigger on ${table}.`,
  ].join("\n");
}
