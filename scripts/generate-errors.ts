/**
 * `npm run errors`: makes from supabase/errors.toml what tokenbook.refuse, the edge functions and
 * docs/errors.md say of each error, and the migration that carries tokenbook.refuse. `--check` writes
 * nothing and fails when one of them says something else.
 */
import { parseArgs } from "node:util";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { generateErrors, readRegistry, registryFile } from "./schema/errors.ts";
import { generateMigrations } from "./schema/generated-migrations.ts";
import { readGenerated, writeGenerated } from "./schema/generated-file.ts";

try {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  for (const [file, text] of await generateErrors(await readRegistry())) {
    if (!values.check) await writeGenerated(file, text);
    else if ((await readGenerated(file)) !== text)
      throw new Failure(`${file} is not what ${registryFile} says: npm run errors`);
  }
  if (!values.check) for (const [file, text] of await generateMigrations()) await writeGenerated(file, text);
} catch (error) {
  reportFailure(error);
}
