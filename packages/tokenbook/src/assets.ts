import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

// what the package brings lies beside the program; in the repository it is where it is made
const packed = new URL("./supabase/", import.meta.url);
const folder = existsSync(packed) ? packed : new URL("../../../supabase/", import.meta.url);

/** The path of a file of Tokenbook's own `supabase/`: migrations, schemas, edge functions. */
export function assetPath(path: string): string {
  return fileURLToPath(new URL(path, folder));
}
