import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Folders of tests/ that hold proofs and nothing else; the tests of packages are proofs as well. */
export const proofFolders = ["commands", "install", "model", "proofs", "scale"];

const PROOFS = new RegExp(`^(packages|tests/(${proofFolders.join("|")}))/`);

/** A tag of a test, in whatever way it is written, or of a whole file. */
const TAG = /\btags:\s*(\[\s*)?["']proof["']|@module-tag\s+proof\b/;

/** All files of the repository that call themselves tests, as paths from its root. */
export function testFiles(root: string): string[] {
  return ["console", "examples", "packages", "scripts", "supabase", "tests"]
    .flatMap((folder) => filesBelow(root, folder))
    .filter((file) => /\.(test|spec)\.[cm]?[jt]sx?$/.test(file));
}

/**
 * The test files that a run of proofs opens: those that say anywhere that they have a proof in them, and all of
 * the folders that hold nothing else, so that a file there which does not say so is counted as not run.
 */
export function filesWithProofs(root: string): string[] {
  return testFiles(root).filter(
    (file) => isAllProofs(file) || TAG.test(readFileSync(join(root, file), "utf8")),
  );
}

/** Whether nothing but proofs may be in a file. */
export function isAllProofs(file: string): boolean {
  return PROOFS.test(file);
}

function filesBelow(root: string, folder: string): string[] {
  try {
    return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => !file.includes("node_modules"))
      .map((file) => join(folder, file));
  } catch {
    // There is no such folder yet.
    return [];
  }
}
