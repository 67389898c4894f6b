/**
 * `npm run migration:build`: makes the generated migrations from supabase/schemas. `--check` writes
 * nothing and fails when they are not what the schema files say.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { staleMigrations } from "./schema/generated-migrations.ts";
import { projectRoot } from "./project.ts";

try {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const stale = await staleMigrations();
  if (values.check && stale.size > 0) {
    throw new Failure(
      `Not what supabase/schemas says: ${[...stale.keys()].join(", ")}. npm run migration:build`,
    );
  }
  for (const [file, text] of stale) {
    await writeFile(join(projectRoot, file), text);
    console.log(`Wrote ${file}`);
  }
  if (stale.size === 0) console.log("Every generated migration is current.");
} catch (error) {
  reportFailure(error);
}
