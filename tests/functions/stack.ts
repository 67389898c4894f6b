/** The whole stack for tests of the edge functions: a database, the API in front of it, real Deno behind it. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApi } from "local-platform/gateway/api";
import { writeEnvFile } from "local-platform/project/env-file";
import { defaultDenoDir } from "local-platform/functions/serve";
import { createKeys, type Keys } from "local-platform/gateway/keys";
import { createTokens, type Claims, userClaims } from "local-platform/gateway/tokens";
import { createDatabase, type Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { project, projectRoot } from "../../scripts/project.ts";

export interface Stack {
  db: Database;
  keys: Keys;
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** Each line that a function printed. */
  log: string[];
  /** A token as the auth server makes them; what is given replaces its claims. */
  token(userId: string, claims?: Claims): Promise<string>;
  /** A new user, and the headers of their requests. */
  user(options?: { admin?: boolean }): Promise<Caller & { id: string }>;
  /** The headers of a request with the secret key. */
  server: Caller;
  /** Sends a request to an edge function and reads the answer. */
  ask(functionName: string, question?: Question): Promise<Answer>;
  close(): Promise<void>;
}

/** One thing done wrong. */
export interface Fault {
  /** In supabase/functions. */
  file: string;
  /** Is there exactly once. */
  right: string;
  wrong: string;
}

/** The caller, as request headers. */
export interface Caller {
  headers: Record<string, string>;
}

export interface Question {
  /** Default: POST with a body, GET without. */
  method?: string;
  caller?: Caller;
  /** Sent as JSON; a string or bytes are sent as they are, and still called JSON. */
  body?: unknown;
  /** Without the question mark. */
  query?: string;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The parsed body. A test reads what it expects; what is not there shows up as undefined. */
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
}

/** The claim that makes a token an admin's (as long as the user is on the list too). */
export const adminClaims: Claims = { app_metadata: { provider: "email", role: "admin" } };

/**
 * Starts it on a database of its own; takes a second.
 *
 * @param settings what supabase/functions/.env holds. Never the developer's own file:
 *   it may have real keys in it
 * @param fault makes a known-bad variant of the functions, so that a test can show that it would
 *   notice
 * @param made the database, where that is none of its own
 */
export async function startStack(
  settings: Record<string, string> = {},
  fault: Fault | readonly Fault[] = [],
  made?: Database,
): Promise<Stack> {
  const db = made ?? (await createDatabase());
  const keys = await createKeys();
  const { sign } = await createTokens(keys);
  const log: string[] = [];
  const root = copyOfFunctions(settings);
  for (const it of [fault].flat()) commit(it as Fault, root);
  const api = await startApi({
    databaseUrlFor: (role) => db.url(role),
    keys,
    port: 0,
    functions: {
      project: { ...project, root },
      denoDir: defaultDenoDir(project),
      log: (line) => log.push(line),
    },
  });

  const token = (userId: string, claims: Claims = {}) => sign({ ...userClaims(api.url, userId), ...claims });

  return {
    db,
    keys,
    url: api.url,
    log,
    token,
    server: { headers: { apikey: keys.secretKey } },

    async user({ admin = false } = {}) {
      const id = await createUser(db, { admin });
      const jwt = await token(id, admin ? adminClaims : {});
      return { id, headers: { apikey: keys.publishableKey, authorization: `Bearer ${jwt}` } };
    },

    async ask(functionName, { caller, body, query = "", headers, ...rest } = {}) {
      const isRaw = typeof body === "string" || body instanceof Uint8Array;
      const response = await fetch(`${api.url}/functions/v1/${functionName}${query && `?${query}`}`, {
        method: rest.method ?? (body === undefined ? "GET" : "POST"),
        headers: {
          ...(body !== undefined && { "content-type": "application/json" }),
          ...caller?.headers,
          ...headers,
        },
        ...(body !== undefined && { body: (isRaw ? body : JSON.stringify(body)) as string }),
      });
      const text = await response.text();
      const isJson = /[/+]json/.test(response.headers.get("content-type") ?? "");
      return {
        status: response.status,
        headers: response.headers,
        text,
        body: isJson && text !== "" ? JSON.parse(text) : undefined,
      };
    },

    async close() {
      await api.close();
      await db.drop();
      rmSync(root, { recursive: true });
    },
  };
}

function commit({ file, right, wrong }: Fault, root: string): void {
  const path = join(root, "supabase/functions", file);
  const parts = readFileSync(path, "utf8").split(right);
  if (parts.length !== 2) throw new Error(`${file} does not have it once: ${right}`);
  writeFileSync(path, parts.join(wrong));
}

/** A project that has nothing but the functions as they are, and these settings. */
function copyOfFunctions(settings: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "tokenbook-functions-"));
  const copied = ["supabase/config.toml", "supabase/functions"];
  for (const path of copied) cpSync(join(projectRoot, path), join(root, path), { recursive: true });
  rmSync(join(root, "supabase/functions/.env"), { force: true });
  writeEnvFile(join(root, "supabase/functions/.env"), settings);
  return root;
}
