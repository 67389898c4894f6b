/** `npm run reference`: makes docs/reference.md from the migrations. */
import { reportFailure } from "./local/failure.ts";
import { writeGenerated } from "./schema/generated-file.ts";
import { generateReference, referenceFile } from "./schema/reference.ts";
import { withMigratedDatabase } from "./schema/scratch-database.ts";

try {
  await writeGenerated(referenceFile, await withMigratedDatabase(generateReference));
} catch (error) {
  reportFailure(error);
}
