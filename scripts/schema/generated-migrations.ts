/** The two migrations that are made from supabase/schemas, and nothing else. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { installCheck } from "./install-check.ts";
import { schemaFiles } from "./project-files.ts";
import { projectRoot } from "../project.ts";

/** Everything but the scheduled jobs. Until release 0.1.0 it is made anew at will. */
export const tokenbookMigration = "supabase/migrations/20261126090100_tokenbook.sql";

/** The scheduled jobs, which a project may not be able to have. */
export const jobsMigration = "supabase/migrations/20261126090300_jobs.sql";

const jobsFile = "supabase/schemas/97_jobs.sql";

/** The text of each generated migration, by its path relative to the project. */
export async function generateMigrations(root = projectRoot): Promise<Map<string, string>> {
  const files = await Promise.all(
    (await schemaFiles(root)).map(async (file) => ({ file, sql: await readFile(join(root, file), "utf8") })),
  );
  const paste = ({ file, sql }: { file: string; sql: string }) => `-- from ${file}\n\n${sql}`;
  const jobs = files.filter(({ file }) => file === jobsFile);
  const rest = files.filter(({ file }) => file !== jobsFile);
  return new Map([
    [
      tokenbookMigration,
      [`${header}\n${installCheck(rest.map(({ sql }) => sql))}`, ...rest.map(paste)].join("\n"),
    ],
    [jobsMigration, jobs.map(paste).join("\n")],
  ]);
}

/** The generated migrations that are not what the schema files say, with what they should be. */
export async function staleMigrations(root = projectRoot): Promise<Map<string, string>> {
  const stale = new Map<string, string>();
  for (const [file, text] of await generateMigrations(root)) {
    if ((await readFile(join(root, file), "utf8").catch(() => null)) !== text) stale.set(file, text);
  }
  return stale;
}

const header = `/*
 * Tokenbook, whole: made from supabase/schemas by \`npm run migration:build\`. Read those files, not this
 * one; change those, and make this anew.
 *
 * It takes nothing of the project that it is installed into and changes nothing of it: it makes schema
 * \`tokenbook\`, and in \`public\` the relations and functions that the check below lists. No user gets a
 * plan, a grant or a row by it.
 *
 * The tables are made here, empty: no lock on them is waited for, and there is nothing to validate.
 */
`;
