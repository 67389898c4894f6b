import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Failure } from "../terminal/failure.ts";

/** One edge function of a project. */
export interface EdgeFunction {
  name: string;
  /** supabase/functions, which holds all of them and their shared code. */
  directory: string;
  /** Deno's cache. */
  denoDir: string;
  /** Whether the gateway asks for a token before the function is reached. */
  verifyJwt: boolean;
}

/** A running function. */
export interface Worker {
  /** Where it listens on 127.0.0.1. */
  port: number;
  /** Process number. */
  pid: number;
  /** Settles when the process is gone, asked to or not. */
  ended: Promise<void>;
  stop(): Promise<void>;
}

/** How long a function may take to listen, in milliseconds. */
const BOOT_MS = 30_000;

const RUNNER = fileURLToPath(new URL("runner.ts", import.meta.url));

/** Deno's settings for fetching and running alike. */
const DENO_SETTINGS = {
  // The project's package.json is Node's; hosted functions never see one.
  DENO_NO_PACKAGE_JSON: "1",
  DENO_NO_UPDATE_CHECK: "1",
  NO_COLOR: "1",
};

const fetched = new Map<string, Promise<void>>();

/**
 * Fetches what a function imports into Deno's cache, once a process; a tenth of a second when it is there.
 *
 * It runs with this process' own environment, because certificates and registries are named there
 * (SSL_CERT_FILE, NPM_CONFIG_REGISTRY, DENO_TLS_CA_STORE, …), none of which a function gets to see.
 *
 * @throws Failure with Deno's last words.
 */
export function prefetchFunction(fn: EdgeFunction): Promise<void> {
  const key = JSON.stringify([fn.denoDir, fn.directory, fn.name]);
  const known = fetched.get(key);
  if (known !== undefined) return known;
  const fetching = cache(fn);
  fetched.set(key, fetching);
  fetching.catch(() => fetched.delete(key));
  return fetching;
}

async function cache(fn: EdgeFunction): Promise<void> {
  const child = spawn(denoPath(), ["cache", "--quiet", ...resolutionOf(fn), entryOf(fn), RUNNER], {
    env: { ...process.env, ...DENO_SETTINGS, DENO_DIR: fn.denoDir },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => (words += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) {
    throw new Failure(
      `What the edge function ${fn.name} imports can't be fetched:\n${words.trim().slice(-2000)}`,
    );
  }
}

/**
 * Starts a function and waits until it listens.
 *
 * @param environment everything that the function sees in Deno.env.
 * @param log gets each line that it prints.
 * @throws when it ends before it listens, or takes longer than 30 s.
 */
export async function startWorker(
  fn: EdgeFunction,
  environment: Record<string, string>,
  log: (line: string) => void,
): Promise<Worker> {
  try {
    await prefetchFunction(fn);
  } catch (error) {
    log(String(error));
    throw error;
  }
  // A line of the function's own can't be taken for the runner's word.
  const password = randomUUID();
  const child = spawn(
    denoPath(),
    [
      "run",
      "--quiet",
      "--no-prompt",
      "--cached-only",
      "--allow-net",
      "--allow-env",
      "--allow-sys",
      `--allow-read=${fn.directory}`,
      ...resolutionOf(fn),
      RUNNER,
      pathToFileURL(entryOf(fn)).href,
      password,
      ...Object.keys(environment),
    ],
    {
      env: { ...environment, ...DENO_SETTINGS, DENO_DIR: fn.denoDir },
      // The runner ends when its input does: no function outlives this process, however that ends.
      stdio: ["pipe", "pipe", "pipe"],
    },
  );
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  try {
    const port = await waitForPort(child, password, log);
    return { port, pid: child.pid!, ended, stop: () => end(child, ended) };
  } catch (error) {
    await end(child, ended);
    throw error;
  }
}

async function waitForPort(
  child: ChildProcess,
  password: string,
  log: (line: string) => void,
): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("it took too long to start")), BOOT_MS);
    timer.unref();
    createInterface({ input: child.stdout! }).on("line", (line) => {
      if (line.startsWith(password)) resolve(Number(line.slice(password.length)));
      else log(line);
    });
    createInterface({ input: child.stderr! }).on("line", log);
    child.once("error", reject);
    child.once("close", (code, signal) => reject(new Error(`it ended with ${signal ?? code}`)));
  });
}

async function end(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.pid === undefined) return;
  child.kill("SIGTERM");
  const insist = setTimeout(() => child.kill("SIGKILL"), 2000);
  await ended;
  clearTimeout(insist);
}

function entryOf({ directory, name }: EdgeFunction): string {
  return join(directory, name, "index.ts");
}

/**
 * How imports are resolved. The lock lives beside the cache, never in the project: it carries what the
 * fetching has decided over to the run, which imports the function dynamically, would decide anew, and
 * asks for the descriptions of optional packages that nobody fetched.
 */
function resolutionOf({ directory, denoDir, name }: EdgeFunction): string[] {
  const config = join(directory, name, "deno.json");
  const lock = `--lock=${join(denoDir, `${name}.lock`)}`;
  return [lock, ...(existsSync(config) ? ["--config", config] : ["--no-config"])];
}

/** Deno itself: the `deno` package's command is a script around it, which signals don't get through. */
function denoPath(): string {
  const require = createRequire(import.meta.url);
  const inDeno = createRequire(require.resolve("deno/package.json"));
  const platform = `${process.platform}-${process.arch}${process.platform === "linux" ? "-glibc" : ""}`;
  const packageFile = inDeno.resolve(`@deno/${platform}/package.json`);
  return join(dirname(packageFile), process.platform === "win32" ? "deno.exe" : "deno");
}
