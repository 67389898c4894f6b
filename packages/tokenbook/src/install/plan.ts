/** What an install writes into a project's folder, and writing it: all of it, or nothing. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { functionFiles, withBlocks, withoutBlocks, type ChosenFunction } from "../project/functions.ts";
import { freshVersions } from "../project/migrations.ts";
import { digestOf, writeRecord } from "../project/record.ts";
import { migrationText, releases, type PackedMigration } from "./release.ts";

/** Texts by their paths in `supabase/`. */
export interface Plan {
  version: string;
  migrations: Map<string, string>;
  files: Map<string, string>;
  /** Whose blocks are added at the end of config.toml, too. */
  functions: ChosenFunction[];
}

/** @param taken versions of migrations that there are, in the folder or in the database. */
export async function planInstall(
  chosen: readonly ChosenFunction[],
  taken: readonly string[],
): Promise<Plan> {
  const all = await releases();
  const files = functionFiles(chosen);
  return {
    version: all.at(-1)!.version,
    migrations: await namedAfresh(
      all.flatMap((release) => release.migrations),
      taken,
    ),
    files: new Map([...files].map(([path, text]) => [`functions/${path}`, text])),
    functions: [...chosen],
  };
}

/** Migrations of the package as they are called in a project, newer than all that it has. */
export async function namedAfresh(
  packed: readonly PackedMigration[],
  taken: readonly string[],
): Promise<Map<string, string>> {
  const versions = freshVersions(taken, packed.length);
  const texts = await Promise.all(packed.map(migrationText));
  return new Map(
    packed.map(({ name }, nth) => [`migrations/${versions[nth]}_${name}.sql`, texts[nth]!] as const),
  );
}

/** Writes the plan's files, its blocks of config.toml and the record of both. */
export function writePlan(root: string, plan: Plan): void {
  const written: string[] = [];
  const config = join(root, "supabase/config.toml");
  const before = readFileSync(config, "utf8");
  try {
    for (const [path, text] of [...plan.migrations, ...plan.files]) {
      const file = join(root, "supabase", path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text, { flag: "wx" }); // nothing that is there is replaced
      written.push(file);
    }
    const after = withBlocks(before, plan.functions);
    if (after !== before) writeFileSync(config, after);
    writeRecord(root, {
      version: plan.version,
      migrations: [...plan.migrations.keys()].map((path) => path.slice("migrations/".length)),
      functions: plan.functions,
      files: Object.fromEntries([...plan.files].map(([path, text]) => [path, digestOf(text)])),
    });
  } catch (error) {
    for (const file of written) rmSync(file, { force: true });
    removeEmptyFolders(root, [...plan.migrations.keys(), ...plan.files.keys()]);
    writeFileSync(config, before);
    throw error;
  }
}

/** Takes away what {@link writePlan} has just written. */
export function unwritePlan(root: string, plan: Plan): void {
  const config = join(root, "supabase/config.toml");
  for (const path of [...plan.migrations.keys(), ...plan.files.keys(), "tokenbook.json"]) {
    rmSync(join(root, "supabase", path), { force: true });
  }
  removeEmptyFolders(root, [...plan.migrations.keys(), ...plan.files.keys()]);
  writeFileSync(config, withoutBlocks(readFileSync(config, "utf8"), plan.functions).text);
}

/** The folders of these files in which nothing is left, up to supabase/. */
export function removeEmptyFolders(root: string, paths: Iterable<string>): void {
  for (const path of paths) {
    for (let folder = dirname(path); folder !== "."; folder = dirname(folder)) {
      const whole = join(root, "supabase", folder);
      if (existsSync(whole) && readdirSync(whole).length === 0) rmdirSync(whole);
    }
  }
}
