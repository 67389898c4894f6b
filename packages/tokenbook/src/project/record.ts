/** `supabase/tokenbook.json`: what an install put into a project's folder, so that it can be taken out again. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "local-platform/terminal/failure";
import type { ChosenFunction } from "./functions.ts";

/** The record; it belongs into the project's repository. */
export interface InstallRecord {
  version: string;
  /** File names in `supabase/migrations`, in the order of the package's. */
  migrations: string[];
  functions: ChosenFunction[];
  /** Digests of the other files, by their paths in `supabase/`: what was changed since is not removed or replaced unasked. */
  files: Record<string, string>;
}

const path = (root: string) => join(root, "supabase/tokenbook.json");

/** @throws Failure when it cannot be understood. */
export function readRecord(root: string): InstallRecord | undefined {
  if (!existsSync(path(root))) return undefined;
  try {
    const record = JSON.parse(readFileSync(path(root), "utf8")) as InstallRecord;
    if (typeof record.version === "string" && Array.isArray(record.migrations)) return record;
  } catch {
    // said below
  }
  throw new Failure(`${path(root)} is no record of an install.`);
}

export function writeRecord(root: string, record: InstallRecord): void {
  writeFileSync(path(root), `${JSON.stringify(record, undefined, 2)}\n`);
}

export const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");
