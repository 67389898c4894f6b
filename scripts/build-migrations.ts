/**
 * `npm run migration:build`: makes the generated migrations from supabase/schemas. `--check` writes
 * nothing and fails when they are not what the schema files say.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Failure, reportFailure } from "./local/failure.ts";
import { projectRoot } from "./local/settings.ts";
import { generateMigrations } from "./schema/generated-migrations.ts";

try {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  for (const [file, text] of await generateMigrations()) {
    const path = join(projectRoot, file);
    const written = await readFile(path, "utf8").catch(() => null);
    if (written === text) {
      console.log(`${file} is current.`);
    } else if (values.check) {
      throw new Failure(`${file} is not what supabase/schemas says: npm run migration:build`);
    } else {
      await writeFile(path, text);
      console.log(`Wrote ${file}`);
    }
  }
} catch (error) {
  reportFailure(error);
}
