// @module-tag proof
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Failure } from "local-platform/terminal/failure";
import { choosePlace } from "local-platform/project/place";
import { freePort } from "local-platform/postgres/ports";
import { type PostgresServer, removeData, startPostgres } from "local-platform/postgres/server";
import { recordProcess } from "local-platform/postgres/processes";
import { temporaryFolder } from "local-platform/testing/server";
import { project } from "./project.ts";

let directory: string;
let dataDir: string;
const running: PostgresServer[] = [];
const children: ChildProcess[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(temporaryFolder(), "local-platform-postgres-"));
  chmodSync(directory, 0o755);
  dataDir = join(directory, "data");
});
afterEach(async () => {
  for (const child of children.splice(0)) await killed(child);
  for (const server of running.splice(0)) await server.stop();
  await removeData(dataDir);
  rmSync(directory, { recursive: true, force: true });
});

async function start(port = 0): Promise<PostgresServer> {
  const server = await startPostgres({ dataDir, port, native: choosePlace(project).native, durable: false });
  running.push(server);
  return server;
}

async function query(server: PostgresServer, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: server.url("postgres", "supabase_admin") });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Another process that starts the server, so that it can be killed. Returns the server's process number. */
async function startElsewhere(): Promise<{ launcher: ChildProcess; server: number }> {
  const script = `
    import { startPostgres } from "local-platform/postgres/server";
    import { choosePlace } from "local-platform/project/place";
    import { project } from "./project.ts";
    const { pid } = await startPostgres({ dataDir: process.env.DATA_DIR, port: 0, native: choosePlace(project).native, durable: false });
    console.log(pid);
    setInterval(() => {}, 1000);`;
  const launcher = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", script], {
    cwd: import.meta.dirname,
    env: { ...process.env, DATA_DIR: dataDir },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(launcher);
  const server = await new Promise<number>((resolve, reject) => {
    launcher.stdout!.once("data", (text: Buffer) => resolve(Number(text.toString())));
    launcher.once("exit", (code) => reject(new Error(`the other process ended with ${code}`)));
  });
  return { launcher, server };
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

test("what was written is there after a stop and a second start", async () => {
  const first = await start();
  await query(first, "create table kept as select 42 as answer");
  await first.stop();

  const second = await start();

  expect(await query(second, "select answer from kept")).toEqual([{ answer: 42 }]);
});

test("a stopped server leaves no process and no lock file", async () => {
  const server = await start();
  await server.stop();
  await server.stop();

  expect(recordProcess(server.pid)).toBeUndefined();
  expect(existsSync(join(dataDir, "postmaster.pid"))).toBe(false);
});

test("the server of a run that was killed is stopped, and its data is kept", async () => {
  const { launcher, server } = await startElsewhere();
  await killed(launcher);
  expect(recordProcess(server), "the server outlives a killed run").toBeDefined();

  const next = await start();

  expect(recordProcess(server)).toBeUndefined();
  expect(await query(next, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("a run whose every process was killed leaves a lock file that does not matter", async () => {
  const { launcher, server } = await startElsewhere();
  process.kill(server, "SIGKILL");
  await killed(launcher);
  expect(existsSync(join(dataDir, "postmaster.pid"))).toBe(true);

  const next = await start();

  expect(await query(next, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("a lock file whose number belongs to another program by now does not matter", async () => {
  await (await start()).stop();
  // Number 1 is always alive, and never Postgres.
  writeFileSync(join(dataDir, "postmaster.pid"), "1\n/elsewhere\n1700000000\n54322\n\n127.0.0.1\n");

  const next = await start();

  expect(await query(next, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("data that another run is using is not touched", async () => {
  const { launcher, server } = await startElsewhere();

  await expect(start()).rejects.toThrow(`running already (process ${launcher.pid})`);
  await expect(removeData(dataDir)).rejects.toThrow(Failure);
  expect(recordProcess(server)).toBeDefined();
  process.kill(server, "SIGINT");
});

test("data of another version of Postgres is refused in words, and kept", async () => {
  await (await start()).stop();
  writeFileSync(join(dataDir, "PG_VERSION"), "16\n");

  await expect(start()).rejects.toThrow(
    /written by Postgres 16; this is Postgres 17[^]*start afresh: remove /,
  );

  expect(readFileSync(join(dataDir, "PG_VERSION"), "utf8")).toBe("16\n");
});

test("a taken port is refused in words, before anything is made", async () => {
  const port = await freePort();
  const squatter = createServer().listen(port, "127.0.0.1");
  await new Promise((resolve) => squatter.once("listening", resolve));

  await expect(start(port)).rejects.toThrow(`Port ${port}, which the database needs, is taken`);

  squatter.close();
  expect(existsSync(dataDir)).toBe(false);
});

test("a data folder that was interrupted in the making is made anew", async () => {
  await (await start()).stop();
  rmSync(dataDir, { recursive: true });
  // What a killed initdb leaves behind, under the name it works with.
  writeFileSync(`${dataDir}.new`, "half");

  const server = await start();

  expect(await query(server, "select 1 as one")).toEqual([{ one: 1 }]);
});

test("a server that can't start says why", async () => {
  await (await start()).stop();
  writeFileSync(join(dataDir, "postgresql.auto.conf"), "shared_buffers = 'a lot'\n");

  await expect(start()).rejects.toThrow(/did not start[^]*shared_buffers/);
});
