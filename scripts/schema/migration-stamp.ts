import { readFile, writeFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { Failure } from "../local/failure.ts";
import { projectRoot } from "../local/settings.ts";
import { migrationFiles, migrationsFolder, schemaFiles } from "./project-files.ts";

/**
 * Writes a migration that holds the named schema files verbatim, each under a line that says where
 * it comes from. A migration is a dated copy of the readable truth, never a second place to think.
 *
 * @param slug - what it does, in snake_case: `refund_tokens`.
 * @param files - schema files relative to the project; pasted in the order in which they build.
 * @param now - the moment that stamps the name, in UTC.
 * @returns the path of the new migration, relative to the project.
 * @throws Failure, with nothing written, for a bad slug, no file, a path that is no schema file, or a moment that is
 *   not after the newest migration (the CLI would not apply it to a project that has that one).
 */
export async function stampMigration(
  slug: string,
  files: readonly string[],
  now = new Date(),
  root = projectRoot,
): Promise<string> {
  if (!/^[a-z0-9]+(_[a-z0-9]+)*$/.test(slug)) {
    throw new Failure(`"${slug}" is no name for a migration: use words in snake_case.`);
  }
  if (files.length === 0) {
    throw new Failure("Name at least one file of supabase/schemas/ that changed.");
  }
  const known = await schemaFiles(root);
  const wanted = new Set(files.map((file) => posix.normalize(file.replaceAll("\\", "/"))));
  const unknown = [...wanted].filter((file) => !known.includes(file));
  if (unknown.length > 0) throw new Failure(`No such schema file: ${unknown.join(", ")}`);

  const stamp = now.toISOString().replace(/\D/g, "").slice(0, 14);
  const newest = (await migrationFiles(root)).at(-1);
  if (newest && stamp <= posix.basename(newest).slice(0, 14)) {
    throw new Failure(`${newest} is not older than this one (${stamp}) would be. Is the clock right?`);
  }

  const pasted = await Promise.all(
    known
      .filter((file) => wanted.has(file))
      .map(async (file) => `-- from ${file}\n\n${await readFile(join(root, file), "utf8")}`),
  );
  const migration = `${migrationsFolder}/${stamp}_${slug}.sql`;
  await writeFile(join(root, migration), pasted.join("\n"), { flag: "wx" });
  return migration;
}
