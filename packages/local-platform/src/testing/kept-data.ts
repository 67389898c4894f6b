import { cpSync, lchownSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { postgresUser } from "../postgres/native.ts";

/** What is kept goes stale: the times that migrations wrote are those of the day they ran. In milliseconds. */
const KEPT_MS = 24 * 60 * 60 * 1000;

const PREFIX = "data-";

/**
 * Puts kept data in the place of a data folder that isn't there yet.
 *
 * @param key says what the data was made of.
 * @returns whether there was any, not older than a day. What is older is removed, whatever it was made of.
 */
export function takeData(folder: string, key: string, dataDir: string): boolean {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const age = Date.now() - (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    if (name.startsWith(PREFIX) && age > KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
  const kept = join(folder, PREFIX + key);
  if (lstatSync(kept, { throwIfNoEntry: false }) === undefined) return false;
  const user = postgresUser(dataDir);
  cpSync(kept, dataDir, { recursive: true });
  if (user !== undefined) giveTo(dataDir, user.uid, user.gid);
  return true;
}

/** Keeps a copy of the data of a server that has stopped. */
export function keepData(folder: string, key: string, dataDir: string): void {
  // Under another name first: a copy that was interrupted must not be taken for a whole one.
  const unfinished = join(folder, `${PREFIX}${process.pid}.new`);
  cpSync(dataDir, unfinished, { recursive: true });
  try {
    renameSync(unfinished, join(folder, PREFIX + key));
  } catch {
    // Another run has kept the same a moment ago.
    rmSync(unfinished, { recursive: true, force: true });
  }
}

function giveTo(path: string, uid: number, gid: number): void {
  lchownSync(path, uid, gid);
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    lchownSync(join(entry.parentPath, entry.name), uid, gid);
  }
}
