/**
 * The project that the trials run against: with AGAINST="<url> <publishable key> <secret key>", whichever that is
 * (`npm run test:against` sets it), and without it a stack of our own, so that the trials are tried themselves.
 *
 * Nothing here but HTTP: what a trial knows of the project it has from its API.
 */
import { randomBytes } from "node:crypto";

/** A user of the project, and the headers of their requests. */
export interface Person {
  id: string;
  headers: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** What was parsed, if it is JSON. A test reads what it expects; what is not there shows up as undefined. */
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
}

export interface Target {
  url: string;
  /** Whether it is somebody else's project, and not a stack of our own. */
  isForeign: boolean;
  /** The headers of a request with the publishable key and nothing more. */
  nobody: Record<string, string>;
  /** Those of one with the secret key. */
  server: Record<string, string>;
  /** Signs a new user up, and in. */
  user(): Promise<Person>;
  /** Sends a request; what is no text in `body` is sent as JSON. */
  ask(path: string, question?: Question): Promise<Answer>;
  /** Calls a function of the API as the server. */
  rpc(name: string, args: object): Promise<Answer>;
  /** Removes the users that were made here, and what was started. Their books stay. */
  close(): Promise<void>;
}

export interface Question {
  method?: string;
  as?: Record<string, string>;
  headers?: Record<string, string>;
  body?: unknown;
}

/** Opens it. */
export async function openTarget(): Promise<Target> {
  const named = process.env["AGAINST"]?.trim();
  if (named === undefined || named === "") {
    const { startStack } = await import("../functions/stack.ts");
    const stack = await startStack();
    const target = targetAt(stack.url, stack.keys.publishableKey, stack.keys.secretKey, false);
    return { ...target, close: async () => void (await target.close(), await stack.close()) };
  }
  const [url, publishableKey, secretKey] = named.split(/\s+/);
  if (secretKey === undefined) throw new Error('AGAINST is not "<url> <publishable key> <secret key>"');
  return targetAt(url!.replace(/\/+$/, ""), publishableKey!, secretKey, true);
}

function targetAt(url: string, publishableKey: string, secretKey: string, isForeign: boolean): Target {
  const nobody = keyed(publishableKey);
  const server = keyed(secretKey);
  const made: string[] = [];

  async function ask(path: string, { method, as = nobody, headers, body }: Question = {}): Promise<Answer> {
    const isRaw = typeof body === "string" || body instanceof Uint8Array;
    const response = await fetch(url + path, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      headers: { ...(body !== undefined && { "content-type": "application/json" }), ...as, ...headers },
      ...(body !== undefined && { body: (isRaw ? body : JSON.stringify(body)) as string }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: parsed(text) };
  }

  return {
    url,
    isForeign,
    nobody,
    server,
    ask,
    rpc: (name, args) => ask(`/rest/v1/rpc/${name}`, { as: server, body: args }),

    async user() {
      const email = `tokenbook-trial-${randomBytes(8).toString("hex")}@example.com`;
      const password = randomBytes(24).toString("base64url");
      const created = await ask("/auth/v1/admin/users", {
        as: server,
        body: { email, password, email_confirm: true },
      });
      if (created.status >= 300) throw new Error(`no user was made: HTTP ${created.status} ${created.text}`);
      made.push(created.body.id as string);
      const session = await ask("/auth/v1/token?grant_type=password", { body: { email, password } });
      if (session.status !== 200) throw new Error(`nobody signs in: HTTP ${session.status} ${session.text}`);
      return {
        id: created.body.id as string,
        headers: { ...nobody, authorization: `Bearer ${session.body.access_token as string}` },
      };
    },

    async close() {
      for (const id of made) await ask(`/auth/v1/admin/users/${id}`, { method: "DELETE", as: server });
    },
  };
}

/** Keys from before 2025 are tokens, and are sent as one too. */
function keyed(key: string): Record<string, string> {
  return { apikey: key, ...(key.startsWith("eyJ") && { authorization: `Bearer ${key}` }) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
