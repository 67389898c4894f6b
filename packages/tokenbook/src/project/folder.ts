/** The project that a command is called in: the folder that holds `supabase/`. */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Project } from "local-platform/project/project";
import { Failure } from "local-platform/terminal/failure";

/**
 * The folder with `supabase/config.toml` in it: `from` itself when it is given, else the current one or the next
 * above it, as the Supabase CLI looks for it.
 *
 * @throws Failure when there is none.
 */
export function findProjectRoot(from?: string): string {
  const start = resolve(from ?? ".");
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "supabase/config.toml"))) return folder;
    if (from !== undefined || folder === dirname(folder)) break;
  }
  throw new Failure(
    `There is no Supabase project in ${start}: no supabase/config.toml. Go to its folder, or name it with --workdir; where\n` +
      "there is none yet: supabase init",
  );
}

/** As the local platform sees it. */
export function projectAt(root: string): Project {
  return { root, name: "tokenbook" };
}
