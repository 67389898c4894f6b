import { cpSync, lchownSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { postgresUser } from "../postgres/native.ts";

/** What is kept goes stale: the times that migrations wrote are those of the day they ran. In milliseconds. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/** So many are kept at most: each has some 80 MB, and each change of the migrations makes another. */
const KEPT = 3;

const PREFIX = "data-";

/**
 * Puts kept data in the place of a data folder that isn't there yet.
 *
 * @param key says what the data was made of.
 * @returns whether there was any, not older than a day. What is older is removed, and what is more than three.
 */
export function takeData(folder: string, key: string, dataDir: string): boolean {
  mkdirSync(folder, { recursive: true });
  removeOld(folder);
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
  // Of a killed run whose process had the same number.
  rmSync(unfinished, { recursive: true, force: true });
  try {
    cpSync(dataDir, unfinished, { recursive: true });
    renameSync(unfinished, join(folder, PREFIX + key));
  } catch {
    // Another run has kept the same a moment ago, or the disk is full: the run goes on without.
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** Removes what was kept: no server starts on it. */
export function dropData(folder: string, key: string): void {
  rmSync(join(folder, PREFIX + key), { recursive: true, force: true });
}

function removeOld(folder: string): void {
  const kept = readdirSync(folder)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => ({ path: join(folder, name), time: modified(join(folder, name)) }))
    .toSorted((a, b) => b.time - a.time);
  for (const [i, { path, time }] of kept.entries()) {
    if (i >= KEPT || Date.now() - time > KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
}

/** 0 when another run has removed it meanwhile. */
function modified(path: string): number {
  return lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function giveTo(path: string, uid: number, gid: number): void {
  lchownSync(path, uid, gid);
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    lchownSync(join(entry.parentPath, entry.name), uid, gid);
  }
}
