import { supabase } from "local-platform/project/supabase-cli";
import { formatted } from "./formatted.ts";

/** Where the types stand, relative to the project. */
export const typesFile = "supabase/functions/_shared/database.types.ts";

/**
 * The TypeScript types of a database's schema `public`, as the real Supabase CLI makes them, in
 * the project's format.
 *
 * @throws when the CLI fails, with its own words.
 */
export async function generateTypes(databaseUrl: string): Promise<string> {
  const url = new URL(databaseUrl);
  url.searchParams.set("sslmode", "disable"); // a throwaway server on this machine has no TLS
  const result = await supabase(["gen", "types", `--remote=${url}`, "--schema", "public"]);
  if (result.status !== 0) throw new Error(`supabase gen types failed: ${result.stderr}`);
  return formatted(
    typesFile,
    `// Generated from the database by \`npm run types\`. Do not edit.\n\n${result.stdout}`,
  );
}
