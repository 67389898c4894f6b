/**
 * One run of pgbench: so many clients, one statement each, prepared, for so many seconds. Its first
 * second is not counted: in it each connection compiles the functions and plans their statements, which
 * a pool of connections does once in its life. pgbench is a part of every Postgres installation but not
 * of the programs in node_modules; it is looked for on the PATH, or where PGBENCH says.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { type PostgresServer, superuser } from "local-platform/postgres/server";

export interface Run {
  /** What pgbench sends: its language, `:n` being one of the users. */
  script: string;
  clients: number;
  /** After the first. */
  seconds: number;
  /** `:n` is drawn from these. */
  users: [first: number, last: number];
  database?: string;
}

export interface Ran {
  transactions: number;
  /** Transactions a second. */
  tps: number;
  /** CPU time of the server's processes, in microseconds a transaction; undefined where /proc is not. */
  cpuUs: number | undefined;
  /** Bytes of write-ahead log a transaction. */
  walBytes: number;
  /** Ledger entries of the books a transaction: what shows that it did what it was to do. */
  entries: number;
}

const program = process.env["PGBENCH"] ?? "pgbench";

/** Which pgbench it is, `pgbench (PostgreSQL) 17.2`. @throws Failure when there is none. */
export async function pgbenchVersion(): Promise<string> {
  return (await execute(["--version"])).output.trim();
}

/** Runs it once. A statement that fails ends the run: a benchmark of refusals is none. */
export async function pgbench(server: PostgresServer, run: Run): Promise<Ran> {
  const { clients, seconds, users, database = "postgres" } = run;
  const client = new pg.Client({ connectionString: server.url(database, superuser) });
  await client.connect();
  const folder = mkdtempSync(join(tmpdir(), "tokenbook-bench-"));
  const script = join(folder, "script.sql");
  writeFileSync(script, `\\set n random(${users[0]}, ${users[1]})\n${run.script}\n`);
  try {
    const entries = await entriesIn(client);
    let warm: { cpu: number | undefined; wal: Promise<number> } | undefined;
    const { output, progress } = await execute(
      [
        "-n",
        "-M",
        "prepared",
        "-c",
        clients,
        "-j",
        Math.min(clients, 2),
        "-T",
        1 + seconds,
        "-P",
        1,
        "-f",
        script,
        server.url(database, "authenticator"),
      ].map(String),
      () => (warm ??= { cpu: cpuSeconds(server.pid), wal: walIn(client) }),
    );
    const cpu = cpuSeconds(server.pid);
    if (warm === undefined) throw new Failure(`pgbench showed no progress:\n${progress}`);
    const all = figure(output, /actually processed: (\d+)/);
    const first = {
      at: figure(progress, /progress: ([\d.]+) s/),
      tps: figure(progress, /progress: [\d.]+ s, ([\d.]+) tps/),
    };
    const transactions = all - first.at * first.tps;
    return {
      transactions: all,
      tps: transactions / (1 + seconds - first.at),
      cpuUs:
        warm.cpu === undefined || cpu === undefined ? undefined : ((cpu - warm.cpu) * 1e6) / transactions,
      walBytes: ((await walIn(client)) - (await warm.wal)) / transactions,
      entries: ((await entriesIn(client)) - entries) / all,
    };
  } finally {
    rmSync(folder, { recursive: true });
    await client.end();
  }
}

function figure(output: string, pattern: RegExp): number {
  const found = pattern.exec(output)?.[1];
  if (found === undefined) throw new Failure(`pgbench did not say ${pattern}:\n${output}`);
  return Number(found);
}

async function walIn(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as bytes",
  );
  return rows[0].bytes;
}

async function entriesIn(client: pg.Client): Promise<number> {
  const { rows } = await client.query(
    "select coalesce(sum(last_transaction_id), 0)::float8 as entries from public.token_accounts",
  );
  return rows[0].entries;
}

/**
 * CPU time of a server and all it has started; those that have ended are counted in its own figures. Undefined
 * where /proc is not.
 */
export function cpuSeconds(pid: number): number | undefined {
  if (process.platform !== "linux") return undefined;
  let ticks = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(name);
    if (stat === undefined) continue;
    const [parent, ...times] = [stat[1], stat[11], stat[12], stat[13], stat[14]].map(Number);
    if (Number(name) === pid) ticks += times.reduce((sum, time) => sum + time, 0);
    else if (parent === pid) ticks += times[0]! + times[1]!;
  }
  return ticks / 100;
}

/** The fields of /proc/<pid>/stat that follow the name; undefined when it has just ended. */
function statOf(pid: string): string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

/** @param onProgress told of each line of progress */
function execute(
  args: string[],
  onProgress: () => void = () => {},
): Promise<{ output: string; progress: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, PGOPTIONS: "-c role=service_role" } });
    let output = "";
    let progress = "";
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => {
      progress += data;
      if (progress.includes("progress:")) onProgress();
    });
    child.once("error", () =>
      reject(
        new Failure(
          "There is no pgbench. It comes with Postgres: install that, or say where it is in PGBENCH.",
        ),
      ),
    );
    child.once("close", (status) => {
      // it ends with 0 when a client was thrown out by an error and others went on
      if (status === 0 && !/aborted/.test(progress)) resolve({ output, progress });
      else reject(new Failure(`pgbench failed (${status}):\n${progress.slice(-2_000)}`));
    });
  });
}
