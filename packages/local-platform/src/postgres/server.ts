import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import {
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { Failure } from "../terminal/failure.ts";
import { freePort, requireFreePort } from "./ports.ts";
import {
  makePrivateDirectory,
  nativePostgres,
  postgresEnvironment,
  postgresUser,
  requireRunnable,
} from "./native.ts";
import type { NativePostgres, SystemUser } from "./native.ts";
import { localPassword } from "../project/running.ts";
import { commandLine, endProcess, isRunning, recordProcess } from "./processes.ts";
import type { ProcessRecord } from "./processes.ts";

/** The superuser, as hosted Supabase calls it; `postgres` is an ordinary role there and here. */
export const superuser = "supabase_admin";

export interface PostgresOptions {
  /** The data folder; made when it does not exist. Its parent must exist. */
  dataDir: string;
  /** The port on 127.0.0.1; 0 takes a free one. */
  port: number;
  /** The environment variable that chooses another port, for the message when it is taken. */
  portVariable?: string;
  /** How to start afresh, for messages about data that cannot be used. Default: remove the folder. */
  howToReset?: string;
  /** What the server says goes here; default `<dataDir>.log`. Written anew at each start. */
  logFile?: string;
  /** The programs to run; default those in node_modules. */
  native?: NativePostgres;
  /** Further settings of the server, as in postgresql.conf. */
  settings?: Record<string, string | number>;
  /** False for data that may be lost when the machine stops: tests start faster. Default true. */
  durable?: boolean;
}

/** A running Postgres server. */
export interface PostgresServer {
  port: number;
  /** Process number of the server. */
  pid: number;
  dataDir: string;
  /** A connection string; default database `postgres`, default role `postgres`. */
  url(database?: string, role?: string): string;
  /** Ends connections, writes everything down and stops. Can be called again. */
  stop(): Promise<void>;
  /** Settles when the server has ended, asked to or not. */
  ended: Promise<void>;
}

/**
 * Starts Postgres on a data folder, making the folder first when there is none.
 *
 * A run that was killed leaves a lock file, and perhaps its server: both are cleared away here.
 *
 * @throws Failure when another run uses the folder, when it is of another version of Postgres, or
 *   when the server does not come up (with the last lines of its log).
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const { dataDir, durable = true } = options;
  const native = options.native ?? nativePostgres();
  const logFile = options.logFile ?? `${dataDir}.log`;
  const user = postgresUser(dataDir);
  requireRunnable(native, user);
  requireVersion(dataDir, native, options.howToReset ?? `remove ${dataDir}`);
  await clearLeftovers(dataDir);
  const port = options.port === 0 ? await freePort() : options.port;
  // Else the first connection might reach somebody else's server and pass for a good start.
  await requireFreePort(port, "the database", options.portVariable ?? "PORT");
  if (!existsSync(dataDir)) createCluster(dataDir, native, user, durable);

  const settings = {
    ...serverSettings,
    ...(durable ? {} : throwAway),
    ...options.settings,
    port,
  };
  const log = openSync(logFile, "w");
  const child = spawn(
    join(native.directory, "bin", "postgres"),
    ["-D", dataDir, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    {
      cwd: dirname(dataDir),
      env: postgresEnvironment(),
      stdio: ["ignore", log, log],
      // A session of its own: Ctrl-C at the terminal reaches every process of ours at once, and the
      // database would go while requests still run. It is stopped last, by stop().
      detached: true,
      ...user,
    },
  );
  closeSync(log);
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const server = recordRun(dataDir, child);
  const url = (database = "postgres", role = "postgres") =>
    `postgresql://${role}:${localPassword}@127.0.0.1:${port}/${database}`;

  await waitUntilReady(url("postgres", superuser), child, logFile);
  return {
    port,
    pid: server.pid,
    dataDir,
    url,
    ended,
    stop: async () => {
      // SIGINT is Postgres' "fast" shutdown: clients are sent away, everything is written down.
      await endProcess(server, "SIGINT", 15_000);
      await ended;
      rmSync(runFile(dataDir), { force: true });
    },
  };
}

/** Whether there is a data folder, of whatever version. */
export function hasData(dataDir: string): boolean {
  return existsSync(dataDir);
}

/**
 * @throws Failure when a run that is alive uses the data folder.
 */
export function requireUnused(dataDir: string): void {
  const run = readRun(dataDir);
  if (run !== undefined && isRunning(run.server) && isRunning(run.launcher)) {
    throw new Failure(
      `This project is running already (process ${run.launcher.pid}). Stop that one first, with Ctrl-C.`,
    );
  }
}

/**
 * Removes a data folder and what belongs to it.
 *
 * @throws Failure when a run uses it.
 */
export async function removeData(dataDir: string): Promise<void> {
  await clearLeftovers(dataDir);
  rmSync(dataDir, { recursive: true, force: true });
}

/** Of a server whose data may be lost: nothing waits for the disk. */
const throwAway = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" };

/** What hosted Supabase sets and a program can notice, and what keeps the server local. */
export const serverSettings = {
  listen_addresses: "127.0.0.1",
  // None: a socket's path may have 107 bytes, and a project's folder can be deeper than that.
  unix_socket_directories: "",
  max_connections: 200,
  shared_preload_libraries: "pg_stat_statements",
  wal_level: "logical",
  timezone: "UTC",
  log_timezone: "UTC",
  log_min_messages: "notice",
};

function createCluster(
  dataDir: string,
  native: NativePostgres,
  user: SystemUser | undefined,
  durable: boolean,
): void {
  // Under another name first: initdb that was interrupted leaves a folder that looks like a whole one.
  const unfinished = `${dataDir}.new`;
  const passwordFile = `${dataDir}.password`;
  rmSync(unfinished, { recursive: true, force: true });
  makePrivateDirectory(unfinished, user);
  writeFileSync(passwordFile, localPassword, { mode: 0o600 });
  if (user !== undefined) chownSync(passwordFile, user.uid, user.gid);
  const major = Number(native.major);
  const initdb = spawnSync(
    join(native.directory, "bin", "initdb"),
    [
      `--pgdata=${unfinished}`,
      `--username=${superuser}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      // Postgres' own locale: sorts the same on every system. Before 17 there was none, and C does too.
      ...(major < 17 ? [] : ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]),
      // Passwords hashed 4096 times make most of what a connection costs; 15 can't do with less.
      ...(durable ? [] : ["--no-sync", ...(major < 16 ? [] : ["--set=scram_iterations=1"])]),
    ],
    { cwd: dirname(dataDir), env: postgresEnvironment(), encoding: "utf8", ...user },
  );
  rmSync(passwordFile);
  if (initdb.status !== 0) {
    rmSync(unfinished, { recursive: true, force: true });
    const reason = initdb.error?.message ?? initdb.stderr.trim();
    throw new Failure(`Postgres could not make its data folder ${dataDir}:\n${reason}`);
  }
  renameSync(unfinished, dataDir);
}

function requireVersion(dataDir: string, native: NativePostgres, howToReset: string): void {
  if (!existsSync(dataDir)) return;
  let version: string;
  try {
    version = readFileSync(join(dataDir, "PG_VERSION"), "utf8").trim();
  } catch (error) {
    throw new Failure(
      (error as NodeJS.ErrnoException).code === "EACCES"
        ? `${dataDir} belongs to another user (was this started with sudo before?). ` +
            "Start it as that user, or remove the folder."
        : `${dataDir} is no data folder of Postgres. Move it away, or start afresh: ${howToReset}`,
    );
  }
  if (version !== native.major) {
    throw new Failure(
      `The data in ${dataDir} was written by Postgres ${version}; this is Postgres ${native.major}, ` +
        `which can't read it.\nMove the folder away to keep it, or start afresh: ${howToReset}`,
    );
  }
}

/** The process that started the server on a data folder, and the server: so that the next run knows what it finds. */
interface Run {
  launcher: ProcessRecord;
  server: ProcessRecord;
}

function runFile(dataDir: string): string {
  return `${dataDir}.run.json`;
}

function recordRun(dataDir: string, child: ChildProcess): ProcessRecord {
  const launcher = recordProcess(process.pid);
  const server = child.pid === undefined ? undefined : recordProcess(child.pid);
  // Gone already: waitUntilReady says why.
  if (launcher === undefined || server === undefined) return { pid: child.pid ?? -1, birth: "" };
  writeFileSync(runFile(dataDir), JSON.stringify({ launcher, server } satisfies Run));
  return server;
}

/** Ends the server of a run that was killed, and removes a lock file that nobody holds. */
async function clearLeftovers(dataDir: string): Promise<void> {
  requireUnused(dataDir);
  const run = readRun(dataDir);
  if (run !== undefined && isRunning(run.server)) await endProcess(run.server, "SIGINT", 15_000);
  rmSync(runFile(dataDir), { force: true });

  const lockFile = join(dataDir, "postmaster.pid");
  if (!existsSync(lockFile)) return;
  const holder = Number(readFileSync(lockFile, "utf8").split("\n")[0]);
  const command = commandLine(holder);
  if (command?.includes("postgres")) {
    // Not ours. Two servers on one folder destroy it, so nothing is guessed here.
    throw new Failure(
      `A Postgres that was started in another way (process ${holder}) uses ${dataDir}. Stop it first.`,
    );
  }
  // After a restart of the machine the number may belong to anyone, and Postgres would refuse.
  rmSync(lockFile);
}

function readRun(dataDir: string): Run | undefined {
  try {
    return JSON.parse(readFileSync(runFile(dataDir), "utf8")) as Run;
  } catch {
    return undefined;
  }
}

async function waitUntilReady(url: string, child: ChildProcess, logFile: string): Promise<void> {
  const failed = new Promise<Error>((resolve) => {
    child.once("error", resolve);
    child.once("exit", (code) => resolve(new Error(`it ended with status ${code}`)));
  });
  // Long: after a crash the server replays what it had not yet written.
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    if (await answers(url)) return;
    const failure = await Promise.race([failed, sleep(30)]);
    if (failure !== undefined) {
      const lines = readFileSync(logFile, "utf8").trim().split("\n").slice(-8).join("\n");
      throw new Failure(`Postgres did not start: ${failure.message}\n${lines}\n(${logFile})`);
    }
  }
  child.kill("SIGQUIT");
  throw new Failure(
    `Postgres did not answer within a minute; see ${basename(logFile)} in ${dirname(logFile)}.`,
  );
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // A server that is just starting may drop the connection after having accepted it.
  client.on("error", () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
