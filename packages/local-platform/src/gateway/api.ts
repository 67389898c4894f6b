import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { openApiDatabase } from "../rest/database.ts";
import { openAuth } from "../auth/auth.ts";
import { openToBrowsers, preflight } from "./cors.ts";
import { json, Refusal } from "./http.ts";
import { answerNoFunctions, startFunctions } from "../functions/serve.ts";
import type { Functions } from "../functions/serve.ts";
import type { Keys } from "./keys.ts";
import type { Project } from "../project/project.ts";
import { answerRest } from "./rest.ts";
import { startRealtime } from "../realtime/realtime.ts";
import { loadApiSchema } from "../rest/schema.ts";
import { createSchemaCache, FINGERPRINT } from "../rest/schema-cache.ts";
import { createTokens } from "./tokens.ts";

export interface ApiOptions {
  /** Connection string of the API's database for a role: `authenticator`, `supabase_auth_admin` or `postgres`. */
  databaseUrlFor: (role: string) => string;
  keys: Keys;
  /** Port on 127.0.0.1; 0 takes a free one. */
  port: number;
  /** Life of an access token, in seconds. Default 3600. */
  jwtExpirySeconds?: number;
  /** Connections that run requests. Default 20. */
  connections?: number;
  /** No answer of a table or function has more rows. Default 1000, as on hosted projects. */
  maxRows?: number;
  /** Serve edge functions too. */
  functions?: {
    /** Its folder holds supabase/functions and supabase/config.toml. */
    project: Project;
    /** Deno's cache; default `deno` in the project's own folder of the platform. */
    denoDir?: string;
    /** Gets each line that a function prints. */
    log?: (line: string) => void;
  };
}

/** A running API. */
export interface Api {
  /** `http://127.0.0.1:<port>`: what supabase-js takes. */
  url: string;
  port: number;
  /** Ends requests, functions and connections. */
  close(): Promise<void>;
}

/**
 * Starts the API of one project: /rest/v1, /auth/v1, /functions/v1 and /realtime/v1, for an unmodified supabase-js.
 * It is what Kong, PostgREST, the auth server and Realtime are on a hosted project, in this process.
 *
 * @throws when the port is taken or the database can't be read.
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { databaseUrlFor, keys, jwtExpirySeconds = 3600, connections = 20, maxRows = 1000 } = options;
  const tokens = await createTokens(keys);
  const database = openApiDatabase(databaseUrlFor("authenticator"), connections);
  const fingerprint = async () => {
    const [row] = await database.run([["search_path", ""]], FINGERPRINT, true);
    return row!["fingerprint"]!;
  };
  const schema = createSchemaCache(fingerprint, (version) => loadApiSchema(database, version));
  const rest = { database, schema, maxRows, keys, tokens };
  const auth = openAuth({
    url: databaseUrlFor("supabase_auth_admin"),
    keys,
    tokens,
    issuer: () => `${url}/auth/v1`,
    jwtExpirySeconds,
  });

  async function answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const mayAsk = preflight(request);
    if (mayAsk !== undefined) return mayAsk;
    if (pathname.startsWith("/auth/v1/")) {
      return await auth.answer(request, pathname.slice("/auth/v1".length));
    }
    if (pathname.startsWith("/rest/v1/")) {
      return await answerRest(request, pathname.slice("/rest/v1".length), rest);
    }
    if (pathname.startsWith("/realtime/v1/")) return answerNoSocket(pathname);
    return json({ message: "no Route matched with those values" }, 404);
  }

  const listener = getRequestListener((request) => guarded(request, answer), {
    // The tests run in this process; its Request and Response stay Node's own.
    overrideGlobalObjects: false,
  });
  let functions: Functions | undefined;
  const server = createServer((incoming, outgoing) => {
    const name = /^\/functions\/v1\/([^/?]+)/.exec(incoming.url ?? "")?.[1];
    if (name === undefined) void listener(incoming, outgoing);
    else if (functions === undefined) answerNoFunctions(outgoing);
    else functions.serve(name, incoming, outgoing);
  });
  const realtime = startRealtime({ databaseUrlFor, database, keys, tokens });
  server.on("upgrade", realtime.upgrade);
  const port = await listen(server, options.port);
  const url = `http://127.0.0.1:${port}`;

  const close = async () => {
    server.close();
    server.closeAllConnections();
    await Promise.all([functions?.close(), auth.close(), realtime.close()]);
    await database.close();
  };
  try {
    await schema.get();
    if (options.functions !== undefined) {
      const databaseUrl = databaseUrlFor("postgres");
      functions = startFunctions({ ...options.functions, apiUrl: url, databaseUrl, keys, tokens });
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { url, port, close };
}

/** Realtime by HTTP: on hosted projects, sending a broadcast. */
function answerNoSocket(pathname: string): Response {
  const message =
    pathname === "/realtime/v1/websocket"
      ? "Realtime is spoken over a WebSocket"
      : "Not served by the local platform, whose Realtime has postgres_changes only: no broadcast, no presence";
  return json({ message }, pathname === "/realtime/v1/websocket" ? 426 : 501);
}

async function guarded(request: Request, answer: (request: Request) => Promise<Response>): Promise<Response> {
  let response: Response;
  try {
    response = await answer(request);
  } catch (error) {
    response = error instanceof Refusal ? error.response : unexpected(request, error);
  }
  openToBrowsers(response, request);
  return response;
}

function unexpected(request: Request, error: unknown): Response {
  // A name and nothing else: messages and stacks of libraries may quote statements and their values.
  const name = error instanceof Error ? error.name : typeof error;
  console.error(`api: ${request.method} ${new URL(request.url).pathname} failed: ${name}`);
  return json({ message: "An unexpected error occurred" }, 500);
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return (server.address() as AddressInfo).port;
}
