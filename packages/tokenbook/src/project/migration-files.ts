/** The files of migrations in a project's folder. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** A file as the Supabase CLI takes it: 14 digits or fewer, and a name. */
const migrationName = /^(\d+)_(.*)\.sql$/;

/** A migration of a folder. */
export interface MigrationFile {
  file: string;
  version: string;
  /** What its file is called behind the version. */
  name: string;
}

/** The files, oldest first. */
export function migrationFiles(root: string): MigrationFile[] {
  const folder = join(root, "supabase/migrations");
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((file) => {
      const [, version, name] = migrationName.exec(file) ?? [];
      return version === undefined ? [] : [{ file, version, name: name! }];
    })
    .toSorted((a, b) => (a.version < b.version ? -1 : 1));
}

/** The versions of the files, oldest first. */
export const fileVersions = (root: string): string[] => migrationFiles(root).map(({ version }) => version);

/**
 * What a migration makes in `public`, by name, and the schemas that it makes, as far as its text says so: not what is put
 * together at run time.
 */
export function madeIn(text: string): string[] {
  const made =
    /^\s*create\s+(?:or\s+replace\s+)?(?:(?:unlogged|materialized|recursive)\s+)?(table|view|function|procedure|aggregate|type|domain|sequence|schema)\s+(?:if\s+not\s+exists\s+)?(?:"?public"?\s*\.\s*)?"?(\w+)"?(?!\s*\.|\w)/gim;
  return [
    ...new Set(
      [...text.matchAll(made)].map(([, kind, name]) =>
        kind!.toLowerCase() === "schema" ? `schema ${name!.toLowerCase()}` : name!.toLowerCase(),
      ),
    ),
  ];
}
