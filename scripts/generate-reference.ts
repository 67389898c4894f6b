/** `npm run reference`: makes docs/reference.md from supabase/schemas and the examples. */
import { reportFailure } from "local-platform/terminal/failure";
import { withConnection } from "../packages/tokenbook/src/database/connection.ts";
import { describeApi } from "./schema/api-description.ts";
import { writeGenerated } from "./schema/generated-file.ts";
import { generateReference, referenceFile } from "./schema/reference.ts";
import { answersOfExamples, loadDemo } from "./schema/reference/example-answers.ts";
import { withInstalledDatabase, withMigratedDatabase } from "./schema/scratch-database.ts";

try {
  const answers = await withMigratedDatabase(async (url) => {
    await withConnection(url, loadDemo);
    return await answersOfExamples(url, (await describeApi(url)).functions);
  });
  await writeGenerated(referenceFile, await withInstalledDatabase((url) => generateReference(url, answers)));
} catch (error) {
  reportFailure(error);
}
