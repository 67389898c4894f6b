import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { schemaFiles } from "./project-files.ts";
import { projectRoot } from "../project.ts";

/**
 * Builds a database from supabase/schemas alone, as the role of the URL, with that role's own
 * search_path: as a migration would run.
 *
 * @param databaseUrl - a database with the platform in it and nothing of Tokenbook; role `postgres`.
 * @param files - relative to the project, in the order in which they build; default all of them.
 * @throws the database's error, with the file's name in its message.
 */
export async function buildFromSchemas(databaseUrl: string, files?: readonly string[]): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    for (const file of files ?? (await schemaFiles())) {
      await client.query(await readFile(join(projectRoot, file), "utf8")).catch((error: Error) => {
        error.message = `${file}: ${error.message}`;
        throw error;
      });
    }
  } finally {
    await client.end();
  }
}
