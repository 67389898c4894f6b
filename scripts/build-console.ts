/** Builds the console for `npm start`, where what is built is not of the sources that are here. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./project.ts";

const page = join(projectRoot, "console");
const built = join(page, "dist");
const stamp = join(built, ".sources");

/** What it is made of. */
const sources = [
  "package-lock.json",
  "console/index.html",
  "console/vite.config.ts",
  "console/public",
  "console/src",
  "packages/tokenbook/src",
  "supabase/functions/_shared",
];

/** @returns whether there was anything to build */
export async function buildConsole(): Promise<boolean> {
  const wanted = digest();
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return false;
  const { build } = await import("vite"); // half a second, which most starts need not take
  await build({ root: page, logLevel: "warn", build: { emptyOutDir: true } });
  writeFileSync(stamp, wanted);
  return true;
}

function digest(): string {
  const hash = createHash("sha256");
  for (const file of sources.flatMap(filesOf))
    hash.update(file).update(readFileSync(join(projectRoot, file)));
  return hash.digest("hex");
}

function filesOf(path: string): string[] {
  const entries = /\.\w+$/.test(path)
    ? undefined
    : readdirSync(join(projectRoot, path), { withFileTypes: true, recursive: true });
  if (entries === undefined) return [path];
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(projectRoot.length + 1))
    .sort();
}
