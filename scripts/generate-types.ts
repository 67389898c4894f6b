/** `npm run types`: makes the edge functions' database types from supabase/schemas. */
import { reportFailure } from "./local/failure.ts";
import { generateTypes, typesFile } from "./schema/database-types.ts";
import { writeGenerated } from "./schema/generated-file.ts";
import { withInstalledDatabase } from "./schema/scratch-database.ts";

try {
  await writeGenerated(typesFile, await withInstalledDatabase(generateTypes));
} catch (error) {
  reportFailure(error);
}
