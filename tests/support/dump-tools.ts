/**
 * pg_dump and its kin, which come with Postgres and not with npm, and a server that they understand: of our version
 * where they are as new as that, else of theirs. It keeps what it answers, so that the doctor finds it sound.
 */
import { execFile, spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { choosePlace } from "local-platform/project/place";
import { prepareDatabase, prepareServer } from "local-platform/postgres/prepare";
import { startPostgres, superuser } from "local-platform/postgres/server";
import { createDatabase, type Database, run } from "local-platform/testing/database";
import { temporaryFolder } from "local-platform/testing/server";
import { project } from "../../scripts/project.ts";

export interface DumpServer {
  /** `pg_dump (PostgreSQL) 17.2`. */
  version: string;
  /** A database: a hosted project without any migration, or a copy of another one. */
  database(template?: string): Promise<Database>;
  /** Runs a program or a script of the shell, the tools before all others in its PATH; returns its output. */
  shell(script: string, env?: NodeJS.ProcessEnv): Promise<string>;
  stop(): Promise<void>;
}

/** @throws where there is no pg_dump: nothing is shown without one. */
export async function startDumpServer(): Promise<DumpServer> {
  const program = process.env["PG_DUMP"] ?? "pg_dump";
  const { stdout: said } = spawnSync(program, ["--version"], { encoding: "utf8" });
  const major = /PostgreSQL\) (\d+)/.exec(said ?? "")?.[1];
  if (major === undefined) {
    throw new Error(
      "There is no pg_dump. It comes with Postgres: install that, or say where it is in PG_DUMP.",
    );
  }
  const bin = await binOf(program, major);
  const env = { PATH: `${bin}:${process.env["PATH"]}` };
  const shell = (script: string, more: NodeJS.ProcessEnv = {}) => runShell(script, { ...env, ...more });
  const version = said.trim();

  const ours = choosePlace(project).native;
  const native =
    Number(major) >= Number(ours.major) ? ours : { directory: dirname(bin), packageVersion: major, major };
  const directory = mkdtempSync(join(temporaryFolder(), "tokenbook-dump-"));
  chmodSync(directory, 0o755); // run by root, Postgres is another user
  const server = await startPostgres({
    dataDir: join(directory, "data"),
    port: 0,
    native,
  });
  await prepareServer(server);
  await run(
    server.url("postgres", superuser),
    "create database template_platform template template0 owner postgres",
  );
  await prepareDatabase(server, { database: "template_platform" });
  return {
    version,
    shell,
    database: (template = "template_platform") => createDatabase(server.port, template),
    stop: async () => {
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Where the program lies, beside a server of its version; Debian's `pg_dump` is a choice among several. */
async function binOf(program: string, major: string): Promise<string> {
  const { stdout } = await promisify(execFile)("which", [program]);
  const places = [dirname(realpathSync(stdout.trim())), `/usr/lib/postgresql/${major}/bin`];
  const found = places.find(
    (place) => existsSync(join(place, "pg_dump")) && existsSync(join(place, "postgres")),
  );
  return found ?? places[0]!;
}

function runShell(script: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["-euo", "pipefail", "-c", script], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.once("error", reject);
    child.once("close", (status) =>
      status === 0 ? resolve(stdout) : reject(new Error(stderr.trim().slice(-2_000) || `status ${status}`)),
    );
  });
}
