/**
 * `npm run migration:new -- <slug> <schema file…>`: writes a migration that holds those files of
 * supabase/schemas/ as they are now.
 */
import { parseArgs } from "node:util";
import { reportFailure } from "./local/failure.ts";
import { stampMigration } from "./schema/migration-stamp.ts";

try {
  const { positionals } = parseArgs({ allowPositionals: true });
  const [slug = "", ...files] = positionals;
  const migration = await stampMigration(slug, files);
  console.log(`Wrote ${migration}`);
  console.log("Tables that exist already need their `create table` turned into `alter table`.");
  console.log("When it does what it should: npm run migration:seal");
} catch (error) {
  reportFailure(error);
  console.error("Usage: npm run migration:new -- <slug> <file of supabase/schemas/…>");
}
