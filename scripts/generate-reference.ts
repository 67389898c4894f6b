/** `npm run reference`: makes docs/reference.md from supabase/schemas. */
import { reportFailure } from "local-platform/terminal/failure";
import { writeGenerated } from "./schema/generated-file.ts";
import { generateReference, referenceFile } from "./schema/reference.ts";
import { withInstalledDatabase } from "./schema/scratch-database.ts";

try {
  await writeGenerated(referenceFile, await withInstalledDatabase(generateReference));
} catch (error) {
  reportFailure(error);
}
