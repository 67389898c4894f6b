/** `npm run types`: makes the edge functions' database types, and the lists that they share with SQL, from supabase/schemas. */
import { reportFailure } from "local-platform/terminal/failure";
import { generateTypes, typesFile } from "./schema/database-types.ts";
import { writeGenerated } from "./schema/generated-file.ts";
import { generateLists, listsFile } from "./schema/lists.ts";
import { withInstalledDatabase } from "./schema/scratch-database.ts";

try {
  const [types, lists] = await withInstalledDatabase(async (url) => [
    await generateTypes(url),
    await generateLists(url),
  ]);
  await writeGenerated(typesFile, types!);
  await writeGenerated(listsFile, lists!);
} catch (error) {
  reportFailure(error);
}
