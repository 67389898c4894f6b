// @module-tag proof
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEnv } from "node:util";
import { createClient } from "@supabase/supabase-js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { brokenBooks } from "../../scripts/broken-books.ts";
import { choosePlace } from "local-platform/project/place";
import { freePort } from "local-platform/postgres/ports";
import { commandLine } from "local-platform/postgres/processes";
import { projectRoot } from "../../scripts/project.ts";

/** A checkout of its own: `npm start` writes into the project that it belongs to. */
let checkout: string;
let ports: { TOKENBOOK_API_PORT: string; TOKENBOOK_DB_PORT: string; TOKENBOOK_CONSOLE_PORT: string };
const started: ChildProcess[] = [];

beforeAll(async () => {
  checkout = mkdtempSync(join(tmpdir(), "tokenbook-checkout-"));
  const itsOwn = ["package.json", "package-lock.json", "tsconfig.json", "scripts", "supabase"];
  const forTheConsole = ["console", "packages/tokenbook/package.json", "packages/tokenbook/src"];
  const isMade = (path: string) => /\/(dist|node_modules)$/.test(path);
  for (const name of [...itsOwn, ...forTheConsole]) {
    cpSync(join(projectRoot, name), join(checkout, name), {
      recursive: true,
      filter: (path) => !isMade(path),
    });
  }
  // The checkout borrows this project's packages: were they out of date, its `npm start` would clear them away.
  spawnSync(process.execPath, [join(projectRoot, "scripts", "setup.mjs")], { stdio: "inherit" });
  symlinkSync(join(projectRoot, "node_modules"), join(checkout, "node_modules"));
  // What Deno has fetched is the same everywhere; the rest of .tokenbook is the checkout's own.
  mkdirSync(join(projectRoot, ".tokenbook", "deno"), { recursive: true });
  mkdirSync(join(checkout, ".tokenbook"));
  symlinkSync(join(projectRoot, ".tokenbook", "deno"), join(checkout, ".tokenbook", "deno"));
  ports = {
    TOKENBOOK_API_PORT: String(await freePort()),
    TOKENBOOK_DB_PORT: String(await freePort()),
    TOKENBOOK_CONSOLE_PORT: String(await freePort()),
  };
});
afterEach(async () => {
  for (const child of started.splice(0)) await stopped(child);
});
afterAll(() => {
  const { dataDir } = choosePlace({ root: checkout, name: "tokenbook" });
  rmSync(checkout, { recursive: true });
  // Elsewhere where root's Postgres can't reach the checkout.
  rmSync(dirname(dataDir), { recursive: true, force: true });
});

interface Started {
  child: ChildProcess;
  /** What it has printed so far. */
  screen: () => string;
  /** Resolves when it is ready or has ended. */
  settled: Promise<void>;
}

function npmStart(...args: string[]): Started {
  const child = spawn("npm", ["start", "--", ...args], {
    cwd: checkout,
    env: { ...process.env, ...ports },
    stdio: ["ignore", "pipe", "pipe"],
    // A process group of its own, so that a test can send it what Ctrl-C sends: a signal to all of them.
    detached: true,
  });
  started.push(child);
  let screen = "";
  const settled = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text: Buffer) => {
        screen += text.toString();
        if (/^Ready after/m.test(screen)) resolve();
      });
    }
    child.once("close", () => resolve());
  });
  return { child, screen: () => screen, settled };
}

/** Presses Ctrl-C, and waits. */
async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once("close", resolve));
  process.kill(-child.pid!, "SIGINT");
  await closed;
}

/** Every process of the checkout: Postgres and Deno name its folder in their command lines. */
function processesOfCheckout(): string[] {
  const pids = spawnSync("ps", ["-A", "-o", "pid="], { encoding: "utf8" }).stdout.trim().split(/\s+/);
  const { dataDir } = choosePlace({ root: checkout, name: "tokenbook" });
  return pids
    .map((pid) => commandLine(Number(pid)) ?? "")
    .filter((line) => line.includes(checkout) || line.includes(dataDir));
}

async function untilNoneIsLeft(): Promise<string[]> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(50)) {
    if (processesOfCheckout().length === 0) break;
  }
  return processesOfCheckout();
}

function environment(): Record<string, string> {
  return parseEnv(readFileSync(join(checkout, ".env.local"), "utf8")) as Record<string, string>;
}

/** What Alice's row in the table on the screen says they have. */
function aliceHas(screen: string): string | undefined {
  return /alice@example\.com .*?│.*?│ free +│ +([\d,]+) │/.exec(screen)?.[1];
}

test("a first start shows each step, then people, keys and calls; the calls work as they are; Ctrl-C ends it all", async () => {
  const { child, screen, settled } = npmStart();
  await settled;

  expect(screen()).toMatch(/^ {2}Starting Postgres … 17\.\d+\.\d+ on port \d+, new data, \d+\.\d s$/m);
  expect(screen()).toMatch(/^ {4}20251113000000_baseline\.sql$/m);
  expect(screen()).toMatch(/^ {4}\d+ applied, \d+\.\d s$/m);
  expect(screen()).toMatch(/^ {2}Demo data … seeded, \d+\.\d s$/m);
  expect(aliceHas(screen())).toBe("610,000");
  // the console first: its page, and which project it is for
  const page = /http:\/\/[\d.:]+(?= )/.exec(screen())![0];
  expect(page).toBe(`http://127.0.0.1:${ports.TOKENBOOK_CONSOLE_PORT}`);
  expect(await (await fetch(`${page}/any/path`)).text()).toContain('<div id="root">');
  const { SUPABASE_URL: url, SUPABASE_PUBLISHABLE_KEY: key } = environment();
  expect(await (await fetch(`${page}/config.json`)).json()).toEqual({ url, key });
  for (const value of Object.values(environment())) expect(screen()).toContain(value);

  const calls = /^# 1\.[^]*?(?=^Ready after)/m.exec(screen())![0];
  const pasted = spawnSync("bash", ["-eu"], { input: calls, encoding: "utf8", cwd: tmpdir() });
  const [balance, deduction, correction] = pasted.stdout
    .replaceAll("}{", "}\n{")
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(balance).toMatchObject({ total_active: 610_000 });
  expect(deduction).toMatchObject({ success: true, tokens_remaining: 460_000 });
  expect(deduction!["deducted_from"]).toHaveLength(3);
  expect(JSON.stringify(correction)).toContain("485000");

  const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY } = environment();
  const supabase = createClient(SUPABASE_URL!, SUPABASE_PUBLISHABLE_KEY!, {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { transport: WebSocket as never },
  });
  const { data: bob } = await supabase.auth.signInWithPassword({
    email: "bob@example.com",
    password: "tokenbook-demo",
  });
  expect((await supabase.rpc("get_user_token_balance")).data).toMatchObject({ total_active: 12_500 });

  // the row that a live balance listens to; the channel is open still when everything is stopped
  const row = { schema: "public", table: "token_accounts", filter: `user_id=eq.${bob.user!.id}` };
  let live: object | undefined;
  await new Promise<void>((listening) => {
    supabase
      .channel("balance")
      .on("postgres_changes", { event: "UPDATE", ...row }, (change) => (live = change.new))
      .on("system", {}, ({ status }) => status === "ok" && listening())
      .subscribe();
  });
  await supabase.rpc("deduct_tokens_with_fifo", { p_user_id: bob.user!.id, p_tokens_to_deduct: 500 });
  await expect.poll(() => live).toMatchObject({ user_id: bob.user!.id, tokens_remaining: 12_000 });

  expect(processesOfCheckout().filter((line) => line.includes("deno"))).not.toEqual([]);
  await stopped(child);
  expect(screen()).toMatch(/Stopping …\nStopped\.\n$/);
  expect(await untilNoneIsLeft()).toEqual([]);
  await supabase.removeAllChannels();
}, 60_000);

describe("a second start", () => {
  let running: Started;
  beforeAll(async () => {
    running = npmStart();
    started.splice(0); // it goes on from test to test
    await running.settled;
  }, 60_000);
  afterAll(() => stopped(running.child));

  test("keeps the data, applies nothing and does not seed again", () => {
    expect(aliceHas(running.screen())).toBe("485,000");
    expect(running.screen()).toMatch(/Applying migrations … none pending/);
    expect(running.screen()).toMatch(/Demo data … there already/);
  });

  test("verifies clean, until books that are wrong on purpose are asked for", () => {
    const run = (...args: string[]) =>
      spawnSync("npm", ["run", "--silent", ...args], {
        cwd: checkout,
        encoding: "utf8",
        env: { ...process.env, ...ports },
      });
    expect(run("verify")).toMatchObject({ status: 0 });
    const { stdout, status } = run("demo:broken");
    expect(status).toBe(0);
    for (const { email } of brokenBooks) expect(stdout).toContain(email);
    expect(run("verify")).toMatchObject({ status: 1 });
    for (const { email, scenario, verify = [] } of brokenBooks) {
      const verified = run("verify", "--", "--user", email);
      expect(verified.status).toBe(verify.length > 0 ? 1 : 0);
      for (const invariant of verify) expect(verified.stdout).toContain(invariant);
      expect(run("reconcile", "--", "--user", email).stdout).toContain(scenario);
    }
  }, 120_000);

  test("is left alone by others while it runs, which are refused in words", async () => {
    const others = [npmStart(), npmStart("--reset")];
    await Promise.all(others.map(({ settled }) => settled));

    for (const { screen } of others) expect(screen()).toContain("running already");
    expect(running.child.exitCode).toBeNull();
    const response = await fetch(`${environment()["SUPABASE_URL"]}/auth/v1/.well-known/jwks.json`);
    expect(response.status).toBe(200);
  }, 60_000);

  test("is stopped with everything by a signal to npm alone", async () => {
    expect(processesOfCheckout()).not.toEqual([]);

    running.child.kill("SIGTERM");

    expect(await untilNoneIsLeft()).toEqual([]);
  }, 60_000);
});

test("a start whose processes were all killed is followed by one that works, with the data", async () => {
  const { child, settled } = npmStart();
  await settled;
  const { dataDir } = choosePlace({ root: checkout, name: "tokenbook" });
  const postmaster = Number(readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n")[0]);
  process.kill(-child.pid!, "SIGKILL");
  process.kill(postmaster, "SIGKILL");
  await new Promise((resolve) => child.once("close", resolve));

  const next = npmStart();
  await next.settled;

  expect(aliceHas(next.screen())).toBe("485,000");
}, 60_000);

test("Ctrl-C in the middle of a start leaves nothing running", async () => {
  const { child, screen } = npmStart();
  while (!screen().includes("Starting Postgres")) await sleep(5);

  await stopped(child);

  expect(screen()).not.toMatch(/^Ready/m);
  expect(await untilNoneIsLeft()).toEqual([]);
}, 60_000);

test("a taken port is named with the variable that chooses another, and nothing is left running", async () => {
  const squatter = createServer().listen(Number(ports.TOKENBOOK_API_PORT), "127.0.0.1");
  await new Promise((resolve) => squatter.once("listening", resolve));

  const { child, screen, settled } = npmStart();
  await settled;
  squatter.close();

  expect(child.exitCode ?? (await new Promise((resolve) => child.once("close", resolve)))).toBe(1);
  expect(screen()).toContain(`Port ${ports.TOKENBOOK_API_PORT}, which the API needs, is taken`);
  expect(screen()).toContain("TOKENBOOK_API_PORT=<port>");
  expect(screen()).not.toMatch(/^ +at /m);
  expect(await untilNoneIsLeft()).toEqual([]);
}, 60_000);

test("--reset starts afresh, and keeps the keys that others may have written down", async () => {
  const before = environment();

  const { screen, settled } = npmStart("--reset");
  await settled;

  expect(aliceHas(screen())).toBe("610,000");
  expect(environment()).toEqual(before);
}, 60_000);
