/** The package as it is published: packed, and installed into an empty folder. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import rootJson from "../../package.json" with { type: "json" };
import packageJson from "../../packages/tokenbook/package.json" with { type: "json" };
import { projectRoot } from "../../scripts/project.ts";
import type { Guest } from "./guest.ts";

const run = promisify(execFile);
export const source = join(projectRoot, "packages/tokenbook");

const archiveName = `tokenbook-${packageJson.version}.tgz`;

/** Folders with the package in node_modules: as it is, and as the next release would be. */
export interface Packed {
  /** What npm packed. */
  archive: string;
  now: string;
  next: string;
  remove(): Promise<void>;
}

export async function pack(): Promise<Packed> {
  const { archive, remove } = await packOnly();
  const [now, next] = [await installed(archive), await installed(archive)];
  await makeNext(join(next, "node_modules/tokenbook/dist/supabase"));
  return {
    archive,
    now,
    next,
    remove: async () => {
      for (const folder of [now, next]) await rm(folder, { recursive: true });
      await remove();
    },
  };
}

/** One at a time: a build begins by emptying `dist`. The lock of a killed process is waited for five minutes. */
async function alone(work: () => Promise<unknown>): Promise<void> {
  const lock = join(tmpdir(), `tokenbook-packs-${createHash("md5").update(source).digest("hex")}`);
  while (
    !(await mkdir(lock).then(
      () => true,
      () => false,
    ))
  ) {
    const since = await stat(lock).catch(() => undefined);
    if (since !== undefined && Date.now() - since.mtimeMs > 300_000)
      await rm(lock, { recursive: true, force: true });
    await setTimeout(200);
  }
  try {
    await work();
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}

/** The package packed, for tests that install it themselves. */
export async function packOnly(): Promise<{ archive: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "tokenbook-pack-"));
  await alone(() => run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: source }));
  return { archive: join(folder, archiveName), remove: () => rm(folder, { recursive: true }) };
}

/** An empty folder with these packages installed: archives, and names with their versions. */
export async function installed(...packages: string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tokenbook-empty-"));
  await writeFile(join(folder, "package.json"), '{ "name": "app", "private": true, "type": "module" }');
  await install(folder, ...packages);
  return folder;
}

/** Installs packages beside those that are there. */
export async function install(folder: string, ...packages: string[]): Promise<void> {
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...packages], { cwd: folder });
}

const ours: Record<string, string> = { ...rootJson.devDependencies, ...packageJson.devDependencies };

/** Packages in the versions that this repository has. */
export const asHere = (...names: string[]): string[] => names.map((name) => `${name}@${ours[name]}`);

/** A release after this one: a column and another text of the version, another column, and a change of an edge function. */
async function makeNext(supabase: string): Promise<void> {
  const releases = JSON.parse(await readFile(join(supabase, "releases.json"), "utf8")) as unknown[];
  const [file, second] = ["20990101000000_tokenbook_next.sql", "20990101000001_tokenbook_next_shelves.sql"];
  releases.push({
    version: "99.0.0",
    migrations: [
      { name: "tokenbook_99_0_0", file },
      { name: "tokenbook_99_0_0_shelves", file: second },
    ],
    changes: ["get_token_history says nothing new"],
  });
  await writeFile(join(supabase, "releases.json"), JSON.stringify(releases));
  await writeFile(
    join(supabase, "migrations", file),
    `alter table public.token_packs add column shelf text;
     create or replace function tokenbook.version() returns text language plpgsql immutable set search_path = pg_catalog, pg_temp as $$ begin return '99.0.0'; end $$;`,
  );
  await writeFile(
    join(supabase, "migrations", second),
    "alter table public.token_packs add column shelf_note text;",
  );
  const changed = join(supabase, "functions/grant/index.ts");
  await writeFile(changed, `${await readFile(changed, "utf8")}// of 99.0.0\n`);
}

/** `npx tokenbook …` in a project's folder, with the package of `from`. */
export async function tokenbook(from: string, guest: Guest, ...args: string[]) {
  const program = join(from, "node_modules/.bin/tokenbook");
  try {
    const { stdout } = await run(program, [...args, "--db-url", guest.db.url()], { cwd: guest.root });
    return { status: 0, stdout, stderr: "" };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}
