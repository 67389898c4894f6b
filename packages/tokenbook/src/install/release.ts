/** What a version of Tokenbook brings: the migrations of each release, and the check at the head of the first. */
import { readFile } from "node:fs/promises";
import { assetPath } from "../assets.ts";
import { madeIn } from "../project/migration-files.ts";

/** A migration as the package has it. */
export interface PackedMigration {
  /** What its file is called behind the timestamp. */
  name: string;
  /** Its file in the package. */
  file: string;
}

/** A release, and the migrations that it added. */
export interface Release {
  version: string;
  migrations: PackedMigration[];
  /** What a caller notices of it, a sentence each. */
  changes?: string[];
}

/** Every release up to this version, oldest first. A new project gets the migrations of all of them. */
export async function releases(): Promise<Release[]> {
  return JSON.parse(await readFile(assetPath("releases.json"), "utf8")) as Release[];
}

/** The text of a migration. */
export const migrationText = (migration: PackedMigration): Promise<string> =>
  readFile(assetPath(`migrations/${migration.file}`), "utf8");

/** The functions of the session that say what is in the way, without the call that refuses. */
export async function installCheckSql(): Promise<string> {
  const [first] = await releases();
  const text = await migrationText(first!.migrations[0]!);
  return text.slice(0, text.indexOf("select pg_temp.refuse_if_in_the_way();"));
}

/** The types that the migrations make in `tokenbook`, by name: no function of the database declares them. */
export async function ownTypes(): Promise<string[]> {
  const texts = await Promise.all(
    (await releases()).flatMap(({ migrations }) => migrations).map(migrationText),
  );
  return texts.flatMap((text) =>
    [...text.matchAll(/^create type tokenbook\.(\w+)/gm)].map(([, name]) => name!),
  );
}

/** The names that the migrations make in `public`. */
export async function namesInPublic(): Promise<Set<string>> {
  const texts = await Promise.all(
    (await releases()).flatMap(({ migrations }) => migrations).map(migrationText),
  );
  return new Set(texts.flatMap(madeIn).filter((name) => !name.startsWith("schema ")));
}
