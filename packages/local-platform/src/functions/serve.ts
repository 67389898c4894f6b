import { existsSync, readFileSync, readdirSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEnv } from "node:util";
import { prefetchFunction, startWorker } from "./worker.ts";
import type { EdgeFunction, Worker } from "./worker.ts";
import type { Keys } from "../gateway/keys.ts";
import { stateDirOf } from "../project/project.ts";
import type { Project } from "../project/project.ts";
import { readSettings } from "../project/settings.ts";
import type { Tokens } from "../gateway/tokens.ts";

/** The edge functions of a project, each in a Deno process of its own. */
export interface Functions {
  /** Answers one request, starting the function when it isn't running. Streams in both directions. */
  serve(name: string, incoming: IncomingMessage, outgoing: ServerResponse): void;
  /** Ends every process that was started. */
  close(): Promise<void>;
}

export interface FunctionsOptions {
  /** Its folder holds supabase/functions and supabase/config.toml. */
  project: Project;
  /** Deno's cache; default {@link defaultDenoDir}. */
  denoDir?: string;
  /** Where the functions find the API. */
  apiUrl: string;
  /** What they get as SUPABASE_DB_URL. */
  databaseUrl: string;
  keys: Keys;
  tokens: Tokens;
  /** Gets each line that a function prints. Default: nobody does. */
  log?: (line: string) => void;
}

/** Where a project's Deno keeps the packages that its functions import. */
export function defaultDenoDir(project: Project): string {
  return join(stateDirOf(project), "deno");
}

/**
 * Fetches what the functions import, so that their first requests don't wait for a registry.
 *
 * @returns the names of the functions.
 * @throws Failure when something can't be fetched, with Deno's words.
 */
export async function prefetchFunctions(
  project: Project,
  denoDir = defaultDenoDir(project),
): Promise<string[]> {
  const functions = findFunctions(project, denoDir);
  for (const fn of functions) await prefetchFunction(fn);
  return functions.map((fn) => fn.name);
}

/** Serves the functions of a project. Nothing runs before the first request. */
export function startFunctions(options: FunctionsOptions): Functions {
  const { project, denoDir = defaultDenoDir(project), tokens, log = () => {} } = options;
  const environment = functionEnvironment(options);
  const functions = new Map(findFunctions(project, denoDir).map((fn) => [fn.name, fn]));
  const workers = new Map<string, Promise<Worker>>();
  const agent = new Agent({ keepAlive: true });

  function workerFor(fn: EdgeFunction): Promise<Worker> {
    const running = workers.get(fn.name);
    if (running !== undefined) return running;
    const worker = startWorker(fn, { ...environment, SUPABASE_FUNCTION_SLUG: fn.name }, (line) =>
      log(`[${fn.name}] ${line}`),
    );
    workers.set(fn.name, worker);
    // Ended or never come up: the next request starts another.
    const forget = () => void (workers.get(fn.name) === worker && workers.delete(fn.name));
    worker.then(({ ended }) => ended.then(forget), forget);
    return worker;
  }

  async function serve(name: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const fn = functions.get(name);
    if (fn === undefined) return refuse(outgoing, 404, NOT_FOUND);
    if (fn.verifyJwt && incoming.method !== "OPTIONS") {
      const [, token] = /^bearer (.+)$/i.exec(incoming.headers.authorization ?? "") ?? [];
      if (token === undefined) return refuse(outgoing, 401, { msg: "Error: Missing authorization header" });
      try {
        await tokens.verify(token, 0);
      } catch {
        return refuse(outgoing, 401, { msg: "Invalid JWT" });
      }
    }
    let worker: Worker;
    try {
      worker = await workerFor(fn);
    } catch {
      return refuse(outgoing, 503, {
        code: "BOOT_ERROR",
        message: "Worker failed to boot (please check logs)",
      });
    }
    // the client may have gone while the worker started
    if (!incoming.socket.destroyed) forward(incoming, outgoing, worker, agent);
  }

  return {
    serve: (name, incoming, outgoing) => void serve(name, incoming, outgoing),
    async close() {
      agent.destroy();
      const running = await Promise.allSettled(workers.values());
      await Promise.all(running.map((worker) => worker.status === "fulfilled" && worker.value.stop()));
    },
  };
}

/** How long a process that has crashed may take to be gone, in milliseconds. */
const CRASH_MS = 1000;

/** What a hosted project's gateway says about a function that isn't there. */
const NOT_FOUND = { code: "NOT_FOUND", message: "Requested function was not found" };

/** Answers a request when no functions are served at all. */
export function answerNoFunctions(outgoing: ServerResponse): void {
  refuse(outgoing, 404, NOT_FOUND);
}

function forward(incoming: IncomingMessage, outgoing: ServerResponse, worker: Worker, agent: Agent): void {
  const { method, headers, url = "/", socket } = incoming;
  const upstream = httpRequest({
    agent,
    host: "127.0.0.1",
    port: worker.port,
    method,
    path: url.slice("/functions/v1".length),
    headers: { ...headers, "x-forwarded-for": socket.remoteAddress, connection: "keep-alive" },
  });
  upstream.on("response", (response) => {
    outgoing.writeHead(response.statusCode!, response.headers);
    response.on("error", () => outgoing.destroy());
    response.pipe(outgoing);
  });
  upstream.on("error", () => {
    if (outgoing.headersSent) {
      outgoing.destroy();
      return;
    }
    // A connection breaks before its process is gone. Told of the crash earlier, the next request would meet it too.
    const gone = Promise.race([worker.ended, sleep(CRASH_MS, undefined, { ref: false })]);
    void gone.then(() =>
      refuse(outgoing, 500, {
        code: "WORKER_ERROR",
        message: "Function exited due to an error (please check logs)",
      }),
    );
  });
  outgoing.on("close", () => upstream.destroy());
  incoming.pipe(upstream);
}

function refuse(outgoing: ServerResponse, status: number, body: unknown): void {
  outgoing.writeHead(status, {
    "content-type": "application/json",
    "access-control-allow-origin": "*",
  });
  outgoing.end(JSON.stringify(body));
}

/** Folders of supabase/functions with an index.ts; those with a leading underscore hold shared code. */
function findFunctions(project: Project, denoDir: string): EdgeFunction[] {
  const directory = join(project.root, "supabase", "functions");
  if (!existsSync(directory)) return [];
  const { functions } = readSettings(project);
  return readdirSync(directory, { withFileTypes: true })
    .filter(({ name }) => /^[A-Za-z][\w-]*$/.test(name) && existsSync(join(directory, name, "index.ts")))
    .map(({ name }) => ({ name, directory, denoDir, verifyJwt: functions[name]?.verifyJwt ?? true }));
}

/**
 * The environment that a hosted project gives its functions, and supabase/functions/.env, as
 * `supabase functions serve` reads it. Nothing of this process' own environment is in it.
 */
function functionEnvironment({
  project,
  apiUrl,
  databaseUrl,
  keys,
}: FunctionsOptions): Record<string, string> {
  const file = join(project.root, "supabase", "functions", ".env");
  const own = existsSync(file) ? parseEnv(readFileSync(file, "utf8")) : {};
  const allowed = Object.entries(own).filter(([name]) => !name.startsWith("SUPABASE_"));
  return {
    ...(Object.fromEntries(allowed) as Record<string, string>),
    SUPABASE_URL: apiUrl,
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishableKey }),
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secretKey }),
    // Names from before 2025; older functions hand them to createClient, which takes either kind of key.
    SUPABASE_ANON_KEY: keys.publishableKey,
    SUPABASE_SERVICE_ROLE_KEY: keys.secretKey,
    SUPABASE_JWKS: JSON.stringify(keys.jwks),
    SUPABASE_DB_URL: databaseUrl,
  };
}
