import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { projectRoot } from "../project.ts";

/** Where migrations stand, relative to the project. */
export const migrationsFolder = "supabase/migrations";

/**
 * The files of the readable truth in the order in which they build a database: the schema, then every
 * chapter's tables (functions have their rows for types), then every chapter's functions, then
 * privileges, realtime and jobs. Relative to the project, with forward slashes.
 */
export async function schemaFiles(root = projectRoot): Promise<string[]> {
  const files = await sqlFiles(root, "supabase/schemas");
  const rank = (file: string) => (file.endsWith("/00_schema.sql") ? 0 : file.includes("/tables/") ? 1 : 2);
  return files.toSorted((a, b) => rank(a) - rank(b)); // stable: by path within each
}

/** The migrations in the order in which they apply. Relative to the project, with forward slashes. */
export async function migrationFiles(root = projectRoot): Promise<string[]> {
  return sqlFiles(root, migrationsFolder);
}

async function sqlFiles(root: string, folder: string): Promise<string[]> {
  const names = await readdir(join(root, folder), { recursive: true });
  return names
    .filter((name) => name.endsWith(".sql"))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .toSorted(); // by code unit, as the Supabase CLI does, not as a locale would
}
