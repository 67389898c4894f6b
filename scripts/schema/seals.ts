import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Failure } from "local-platform/terminal/failure";
import { migrationFiles } from "./project-files.ts";
import { projectRoot } from "../project.ts";

/**
 * A migration that has run somewhere must never change: one project would have run the old text,
 * the next the new one, under the same name. So each of those is sealed by its hash in this file, which
 * stands outside the folder that the Supabase CLI scans. `sha256sum -c` understands it.
 * Until release 0.1.0 these are the three of November 2025; the others are made anew at will.
 */
export const lockFile = "supabase/migrations.lock";

/** From this version on, migrations have run nowhere yet. With a release it moves past them. */
export const firstUnreleased = "20261126090000";

/** A migration that does not agree with its seal. */
export interface BrokenSeal {
  /** Path relative to the project. */
  readonly file: string;
  readonly problem: "edited" | "missing" | "unsealed";
}

/** What sealing did, as paths relative to the project. */
export interface SealingResult {
  readonly sealed: string[];
  readonly resealed: string[];
  readonly forgotten: string[];
}

/** Every migration that was edited, taken away or not yet sealed. */
export async function checkSeals(root = projectRoot): Promise<BrokenSeal[]> {
  const [seals, hashes] = await Promise.all([readSeals(root), hashMigrations(root)]);
  return compareSeals(seals, hashes);
}

/**
 * Seals the migrations that are not sealed yet.
 *
 * @param reseal - paths of sealed migrations to seal again as they are now, or to forget if they
 *   are gone. Only for migrations that have run nowhere yet.
 * @throws Failure, with nothing written, when another sealed migration was edited or taken away, or a path in
 *   `reseal` needs no new seal.
 */
export async function sealMigrations(
  reseal: readonly string[] = [],
  root = projectRoot,
): Promise<SealingResult> {
  const [seals, hashes] = await Promise.all([readSeals(root), hashMigrations(root)]);
  const broken = compareSeals(seals, hashes);
  const changed = broken.filter(({ problem }) => problem !== "unsealed");

  const refused = changed.filter(({ file }) => !reseal.includes(file));
  if (refused.length > 0) {
    const list = refused.map(({ file, problem }) => `  ${file} (${problem})`).join("\n");
    throw new Failure(
      `Sealed migrations changed:\n${list}\n` +
        "Put them back and write a new migration instead. If it has run nowhere yet: --reseal <file>.",
    );
  }
  const needless = reseal.filter((file) => !changed.some((seal) => seal.file === file));
  if (needless.length > 0) {
    throw new Failure(`Nothing to reseal: ${needless.join(", ")} agrees with its seal or has none.`);
  }

  const text = [...hashes].map(([file, hash]) => `${hash}  ${file}\n`).join("");
  await writeFile(join(root, lockFile), text);
  const filesWith = (problem: BrokenSeal["problem"]) =>
    broken.filter((seal) => seal.problem === problem).map(({ file }) => file);
  return {
    sealed: filesWith("unsealed"),
    resealed: filesWith("edited"),
    forgotten: filesWith("missing"),
  };
}

type Hashes = ReadonlyMap<string, string>;

function compareSeals(seals: Hashes, hashes: Hashes): BrokenSeal[] {
  const files = [...new Set([...seals.keys(), ...hashes.keys()])].toSorted();
  return files.flatMap((file): BrokenSeal[] => {
    const sealed = seals.get(file);
    const found = hashes.get(file);
    if (sealed === found) return [];
    if (sealed === undefined) return [{ file, problem: "unsealed" }];
    return [{ file, problem: found === undefined ? "missing" : "edited" }];
  });
}

async function hashMigrations(root: string): Promise<Hashes> {
  const files = (await migrationFiles(root)).filter((file) => basename(file) < firstUnreleased);
  return new Map(
    await Promise.all(
      files.map(async (file) => {
        const hash = createHash("sha256").update(await readFile(join(root, file)));
        return [file, hash.digest("hex")] as const;
      }),
    ),
  );
}

async function readSeals(root: string): Promise<Hashes> {
  const text = await readFile(join(root, lockFile), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return ""; // nothing was sealed yet
    throw error;
  });
  return new Map(
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [, hash, file] = /^([0-9a-f]{64}) {2}(.+)$/.exec(line) ?? [];
        if (!hash || !file) throw new Error(`${lockFile} has a line that is no seal: ${line}`);
        return [file, hash] as const;
      }),
  );
}
