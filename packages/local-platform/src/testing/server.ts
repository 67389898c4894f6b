import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { prepareDatabase, prepareServer } from "../postgres/prepare.ts";
import { recordProcess } from "../postgres/processes.ts";
import { removeData, startPostgres, superuser } from "../postgres/server.ts";
import type { PostgresServer } from "../postgres/server.ts";
import { choosePlace } from "../project/place.ts";
import type { Project } from "../project/project.ts";
import { run } from "./database.ts";
import { dropData, keepData, takeData } from "./kept-data.ts";

/** A database to copy from, made by the caller out of one of the platform's own. */
export interface Template {
  /** `template_<what>`. */
  name: string;
  /** What it begins as: a hosted project before its first migration, see {@link startTestServer}. */
  from: "template_platform" | "template_platform_closed";
  /** Everything that it is made of, in one text or a digest of it: when that changes, it is made anew. */
  madeOf: string;
  /** @param url of the new database, as its owner `postgres`. */
  make(url: string): Promise<void>;
}

export interface TestServerOptions {
  /** Its Postgres runs, and its name is in the name of what lies in the system's folder for temporary files. */
  project: Project;
  templates?: Template[];
  /**
   * A folder in which what was made is kept between runs, for a day at most: a start takes a tenth of
   * the time then. Left out, everything is made anew each time.
   */
  keepIn?: string;
}

/** A running server, thrown away when it stops. */
export interface TestServer {
  /** On 127.0.0.1. */
  port: number;
  stop(): Promise<void>;
}

/**
 * Starts a Postgres server for one run of tests and clears away what killed runs have left. On it are
 * `template_platform` (a hosted project before its first migration), `template_platform_closed` (the
 * same without default privileges, as in projects made since 2026-05-30) and the caller's templates.
 */
export async function startTestServer(options: TestServerOptions): Promise<TestServer> {
  const { project, templates = [], keepIn } = options;
  const prefix = `${project.name}-test-`;
  await removeAbandoned(prefix);
  const directory = mkdtempSync(join(temporaryFolder(), `${prefix}${process.pid}-`));
  // Run by root, Postgres is another user and must get to its data.
  chmodSync(directory, 0o755);
  const dataDir = join(directory, "data");
  const { native } = choosePlace(project);
  const start = () =>
    startPostgres({ dataDir, port: 0, native, durable: false, settings: { max_connections: 400 } });

  let server: PostgresServer | undefined;
  const stop = async () => {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const key = digest([native.packageVersion, platformSource(), templates.map(sourceOf)]);
    let isKept = keepIn !== undefined && takeData(keepIn, key, dataDir);
    try {
      server = await start();
    } catch (error) {
      if (!isKept) throw error;
      // What was kept is damaged.
      dropData(keepIn!, key);
      await removeData(dataDir);
      isKept = false;
      server = await start();
    }
    if (!isKept) {
      await makeTemplates(server, templates);
      if (keepIn !== undefined) {
        // A folder can be copied whole only while no server writes in it.
        await server.stop();
        keepData(keepIn, key, dataDir);
        server = await start();
      }
    }
    return { port: server.port, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a file of text, or several, are: the same words give the same digest. */
export function digest(parts: unknown): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 24);
}

/** All that the files of a folder say, with their names. */
export function textsIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const files = names.map(({ parentPath, name }) => join(parentPath, name)).toSorted();
  return files.flatMap((file) => [file.slice(folder.length), readFileSync(file, "utf8")]);
}

function platformSource(): string[] {
  const here = fileURLToPath(new URL("..", import.meta.url));
  const versions = readFileSync(join(here, "..", "package.json"), "utf8");
  return [versions, textsIn(join(here, "postgres")), textsIn(join(here, "testing"))].flat();
}

function sourceOf({ name, from, madeOf }: Template): string[] {
  return [name, from, madeOf];
}

async function makeTemplates(server: PostgresServer, templates: Template[]): Promise<void> {
  await prepareServer(server);
  const platform = { template_platform: "legacy", template_platform_closed: "none" } as const;
  await Promise.all(
    Object.entries(platform).map(async ([database, defaultPrivileges]) => {
      await create(server, database, "template0");
      await prepareDatabase(server, { database, defaultPrivileges });
      // Its copies begin as soon as it is done, whatever the other is doing.
      const copies = templates.filter((template) => template.from === database);
      await Promise.all(
        copies.map(async ({ name, from, make }) => {
          await create(server, name, from);
          await make(server.url(name));
        }),
      );
    }),
  );
}

async function create(server: PostgresServer, name: string, from: string): Promise<void> {
  await run(server.url("postgres", superuser), `create database ${name} template ${from} owner postgres`);
}

const MEMORY = "/dev/shm";

/** So much must be free in {@link MEMORY}, in bytes: a run that fills it up fails in a way that nobody understands. */
const ENOUGH = 8 * 1024 ** 3;

/**
 * Where the data goes that is thrown away: into memory where Linux has plenty of it, because making,
 * copying and removing some thousand files takes seconds on a busy disk. `TMPDIR` chooses another place.
 */
export function temporaryFolder(): string {
  if (process.env["TMPDIR"] || !existsSync(MEMORY)) return tmpdir();
  const { bavail, bsize } = statfsSync(MEMORY);
  return bavail * bsize >= ENOUGH ? MEMORY : tmpdir();
}

/** Clears away what a run that was killed has left. Its process number is in the folder's name. */
async function removeAbandoned(prefix: string): Promise<void> {
  for (const parent of [tmpdir(), MEMORY].filter((folder) => existsSync(folder))) {
    for (const name of readdirSync(parent)) {
      const owner = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : Number.NaN;
      if (Number.isNaN(owner) || recordProcess(owner) !== undefined) continue;
      const directory = join(parent, name);
      try {
        await removeData(join(directory, "data"));
        rmSync(directory, { recursive: true, force: true });
      } catch {
        // Another user's: not ours to clear.
      }
    }
  }
}
