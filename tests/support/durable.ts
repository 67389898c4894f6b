/** A Postgres of its own that keeps what it has acknowledged, to be killed and started again. */
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { prepareDatabase } from "local-platform/postgres/prepare";
import { choosePlace } from "local-platform/project/place";
import { type PostgresServer, startPostgres, superuser } from "local-platform/postgres/server";
import { isRunning, type ProcessRecord, recordProcess } from "local-platform/postgres/processes";
import { buildFromSchemas } from "../../scripts/schema/build-from-schemas.ts";
import { type Database, openDatabase } from "./database.ts";
import { project } from "../../scripts/project.ts";

/**
 * How it is killed, with SIGKILL each time: every process at once, as when the machine's memory runs
 * out; the server process alone, whose children then end by themselves; or one writer's backend, after
 * which the server restarts them all.
 */
export type Killing = "all" | "server" | "backend";

export interface DurableServer {
  db: Database;
  /** Its data folder. */
  dataDir: string;
  /** Process number of the server. */
  readonly pid: number;
  /** Returns when no process of it is left, or, after `backend`, when it answers again. */
  kill(how: Killing): Promise<void>;
  /** Starts it on the same port, after {@link DurableServer.kill} or {@link DurableServer.stop}. */
  start(settings?: Record<string, string | number>): Promise<void>;
  /** Stops it in good order. */
  stop(): Promise<void>;
  /** Stops it and removes its data. */
  close(): Promise<void>;
}

/** Starts one with the books in it and nobody in them; takes about two seconds. */
export async function startDurableServer(
  settings: Record<string, string | number> = {},
): Promise<DurableServer> {
  const directory = mkdtempSync(join(tmpdir(), "tokenbook-durable-"));
  // Run by root, Postgres is another user and must get to its data.
  chmodSync(directory, 0o755);
  const dataDir = join(directory, "data");
  const { native } = choosePlace(project);
  const begin = (port: number, more: Record<string, string | number>) =>
    startPostgres({ dataDir, port, native, durable: true, settings: { max_connections: 100, ...more } });

  let server: PostgresServer = await begin(0, settings);
  await prepareDatabase(server);
  await buildFromSchemas(server.url());
  const db = openDatabase(
    "postgres",
    (role) => server.url("postgres", role),
    () => Promise.resolve(),
  );
  await db.admin.query("update public.token_plans set is_default = false where is_default");
  // Whatever the settings: a crash is to find the books, and take no more than what came after.
  const client = new pg.Client({ connectionString: server.url("postgres", superuser) });
  await client.connect();
  await client.query("checkpoint");
  await client.end();

  return {
    db,
    dataDir,
    get pid() {
      return server.pid;
    },
    async kill(how) {
      const children = await childrenOf(server.pid);
      if (how === "backend") {
        const { rows } = await db.admin.query(
          "select pid from pg_stat_activity where usename = 'authenticator' and backend_type = 'client backend' limit 1",
        );
        process.kill(rows[0].pid, "SIGKILL");
        await sleep(50);
        await answers(server.url("postgres", superuser));
        return;
      }
      for (const { pid } of [{ pid: server.pid }, ...(how === "all" ? children : [])]) strike(pid);
      await server.ended;
      await gone(children);
    },
    async start(more = settings) {
      server = await begin(server.port, more);
    },
    stop: () => server.stop(),
    async close() {
      await db.drop();
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Without stopping the writers of this process: what is killed has to be in the middle of something. */
async function childrenOf(parent: number): Promise<ProcessRecord[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid="]);
  return stdout
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, ppid]) => ppid === parent)
    .flatMap(([pid]) => recordProcess(pid!) ?? []);
}

function strike(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    // a backend that was just leaving
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A server that starts while a process of the last one lives could not read what that one wrote. */
async function gone(processes: readonly ProcessRecord[]): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (processes.some(isRunning)) {
    if (Date.now() > deadline) throw new Error("could not read: processes of the killed server are left");
    await sleep(10);
  }
}

async function answers(url: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("select 1");
      return;
    } catch (error) {
      if (Date.now() > deadline)
        throw new Error("could not read: the server did not come back", { cause: error });
      await sleep(20);
    } finally {
      await client.end().catch(() => {});
    }
  }
}
