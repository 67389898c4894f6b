/** `npm run types`: makes the edge functions' database types from the migrations. */
import { reportFailure } from "./local/failure.ts";
import { generateTypes, typesFile } from "./schema/database-types.ts";
import { writeGenerated } from "./schema/generated-file.ts";
import { withMigratedDatabase } from "./schema/scratch-database.ts";

try {
  await writeGenerated(typesFile, await withMigratedDatabase(generateTypes));
} catch (error) {
  reportFailure(error);
}
