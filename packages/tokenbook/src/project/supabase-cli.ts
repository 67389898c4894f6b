/** The Supabase CLI of a project: its own, as it is in its node_modules, or the one that is installed. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { SupabaseCli } from "local-platform/project/supabase-cli";
import { Failure } from "local-platform/terminal/failure";

/**
 * @throws Failure when there is none: then the project applies its migrations itself, however it does.
 */
export function findSupabaseCli(root: string): SupabaseCli {
  const own = ownCli(root);
  if (own !== undefined) return own;
  const installed = spawnSync("supabase", ["--version"], { encoding: "utf8" });
  if (installed.status === 0) {
    return { command: ["supabase"], takesRemote: takesRemote(installed.stdout) };
  }
  throw new Failure(
    "There is no Supabase CLI here: neither in node_modules (npm install --save-dev supabase) nor installed.",
  );
}

function ownCli(root: string): SupabaseCli | undefined {
  let manifest: string;
  try {
    manifest = createRequire(join(root, "package.json")).resolve("supabase/package.json");
  } catch {
    return undefined;
  }
  const { version, bin } = JSON.parse(readFileSync(manifest, "utf8")) as {
    version: string;
    bin: string | Record<string, string>;
  };
  const program = join(dirname(manifest), typeof bin === "string" ? bin : bin["supabase"]!);
  return {
    command: /\.[cm]?js$/.test(program) ? [process.execPath, program] : [program],
    takesRemote: takesRemote(version),
  };
}

/** `--remote=<url>` is what was `--db-url <url>` before version 3. */
const takesRemote = (version: string): boolean => Number(/\d+/.exec(version)?.[0] ?? 3) >= 3;
