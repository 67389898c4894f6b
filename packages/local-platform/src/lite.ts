import { AsyncLocalStorage } from "node:async_hooks";
import { App, InMemoryEmailDriver } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import type { Caller } from "./gateway/caller.ts";
import { httpStatus, isDatabaseError } from "./rest/errors.ts";
import type { DatabaseError } from "./rest/errors.ts";
import type { Setting } from "./rest/request-settings.ts";

// @supabase/lite serves table reads and password sign-in. It is an alpha, and some of what it does
// is wrong here; each function below shuts one such thing off from outside. All that is known of
// its insides stands in this file, and docs/decisions/0002-local-platform.md has the list.

/** A connection of @supabase/lite: its own pool. */
export type LiteConnection = ReturnType<typeof createPostgresConnection>;

/** What @supabase/lite is doing at the moment, for the patches that lite calls back. */
interface LiteRequest {
  caller?: Caller;
  settings: readonly Setting[];
}

const current = new AsyncLocalStorage<LiteRequest>();

/**
 * Opens a connection with every patch applied.
 *
 * @param connections at most so many at once.
 */
export function openLite(url: string, connections: number): LiteConnection {
  const connection = createPostgresConnection({
    url,
    postgresOptions: {
      max: connections,
      idle_timeout: 30,
      // Its default prints notices.
      onnotice: () => {},
      types: exactTypes,
    },
  });
  grantNothing(connection);
  becomeCallerAsPostgrest(connection);
  reportErrorsAsPostgrest(connection);
  silenceLogs();
  return connection;
}

/** Lets @supabase/lite answer a request. With a caller, what it does in the database it does as that caller. */
export async function askLite(
  app: App,
  request: Request,
  context?: Required<LiteRequest>,
): Promise<Response> {
  return await current.run(context ?? { settings: [] }, () => app.fetch(request));
}

/** The part of @supabase/lite that reads and writes tables, for callers that {@link askLite} names. */
export function createTableApp(connection: LiteConnection): App {
  return new App({
    connection,
    api: { enabled: true, schemas: ["public"] },
    auth: { enabled: false },
    db: { migrations: { enabled: false } },
    options: {
      // The gateway has checked key and token; lite takes its word instead of checking an HS256 token.
      server: {
        apiKeys: {
          resolver: async () => {
            const caller = current.getStore()?.caller;
            return caller === undefined ? null : { type: "publishable", claims: caller.claims };
          },
        },
        disableStudio: true,
      },
    },
  });
}

/** The part of @supabase/lite that signs people up and in. Its tokens are HS256 and never leave this process. */
export function createAuthApp(
  connection: LiteConnection,
  options: { publishableKey: string; secretKey: string; tokenSecret: string; jwtExpirySeconds: number },
): App {
  return new App({
    connection,
    auth: {
      enabled: true,
      publishable_key: options.publishableKey,
      secret_key: options.secretKey,
      jwt_secret: options.tokenSecret,
      jwt_expiry: options.jwtExpirySeconds,
      enable_signup: true,
    },
    db: { migrations: { enabled: false } },
    options: {
      server: { disableStudio: true },
      // The default driver prints mails, one-time codes included.
      drivers: { email: new InMemoryEmailDriver({ maxKeepCount: 0 }) },
    },
  });
}

/**
 * Patch 1: on its first request lite grants ALL on every table of every schema that has row level
 * security, private ones included, to anon, authenticated and service_role, and makes that the default
 * for tables to come. Grants are the migrations' business.
 */
function grantNothing(connection: LiteConnection): void {
  insides(connection).ensureRlsContext = async () => true;
}

/**
 * Patch 2: lite sets role and claims one by one and leaves out what PostgREST sets (timeouts of the
 * role, method, path, headers). All of it goes in one statement; the connection logs in as
 * `authenticator`, so that the database, not lite, decides which roles it may become.
 */
function becomeCallerAsPostgrest(connection: LiteConnection): void {
  insides(connection).applyJwtSessionContext = async (transaction) => {
    const settings = current.getStore()?.settings ?? [];
    if (settings.length === 0) throw new Error("a table was asked for without a caller");
    await transaction
      .selectNoFrom((e) =>
        settings.map(([name, value], i) =>
          e.fn("set_config", [e.val(name), e.val(value), e.val(true)]).as(`setting_${i}`),
        ),
      )
      .execute();
  };
}

/**
 * Patch 3: lite answers most SQLSTATEs with 500 and code `SUP`, drops details and hints, and quotes
 * whatever else went wrong, addresses included. Handed an error in the form of `raise sqlstate
 * 'PGRST'`, it sends exactly what the error says.
 */
function reportErrorsAsPostgrest(connection: LiteConnection): void {
  connection.normalizeDbError = (error: unknown) => {
    // lite's own (a table that isn't there, a filter that can't be read) have no code and are right.
    if (typeof (error as { code?: unknown } | null)?.code !== "string") return error;
    if (!isDatabaseError(error) || isConnectionLost(error)) {
      return raised(503, {
        code: "PGRST000",
        message: "Database connection error. Retrying the connection.",
      });
    }
    if (error.code === "PGRST") return error;
    const anon = current.getStore()?.caller?.role === "anon";
    return raised(httpStatus(error, anon), error);
  };
}

function raised(status: number, { code, message, detail = null, hint = null }: RaisedBody): unknown {
  return {
    code: "PGRST",
    message: JSON.stringify({ code, message, details: detail, hint }),
    detail: JSON.stringify({ status, headers: {} }),
  };
}

interface RaisedBody {
  code: string;
  message: string;
  detail?: string | null | undefined;
  hint?: string | null | undefined;
}

function isConnectionLost(error: DatabaseError): boolean {
  return (error as { severity?: unknown }).severity === "FATAL";
}

/**
 * Patch 4: values as PostgREST has them.
 *
 * json and jsonb: lite hands the driver a JSON text, and the driver makes JSON of it once more, so that
 * an object arrives as a jsonb *string* (sign-up metadata included). Timestamps: lite gives Postgres'
 * notation, PostgREST ISO 8601. numeric: lite gives a string as soon as there is a trailing zero.
 */
const exactTypes = {
  json: { to: 114, from: [114], serialize: jsonOnce, parse: JSON.parse },
  jsonb: { to: 3802, from: [3802], serialize: jsonOnce, parse: JSON.parse },
  timestamp: { to: 1114, from: [1114], serialize: String, parse: isoTime },
  timestamptz: { to: 1184, from: [1184], serialize: String, parse: isoTime },
  numeric: { to: 1700, from: [1700], serialize: String, parse: numberOrText },
};

function jsonOnce(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function isoTime(text: string): string {
  // `infinity` stays as it is.
  return text.replace(/^(\d+-\d\d-\d\d) /, "$1T").replace(/([+-]\d\d)$/, "$1:00");
}

function numberOrText(text: string): number | string {
  const number = Number(text);
  return Number.isFinite(number) ? number : text;
}

/**
 * Patch 5: lite prints every error of the database with its stack and the values of the statement.
 * Callers get their answer; the server's log has nothing to say about them.
 */
function silenceLogs(): void {
  for (const method of ["error", "warn"] as const) {
    const print = console[method];
    if (quiet.has(print)) continue;
    const printUnlessLite: typeof print = (...args) => {
      if (current.getStore() === undefined) print.apply(console, args);
    };
    quiet.add(printUnlessLite);
    console[method] = printUnlessLite;
  }
}
const quiet = new WeakSet<typeof console.error>();

/** Parts of lite that its types call private, in the shape that version 0.10.0 has. */
interface Insides {
  ensureRlsContext(): Promise<boolean>;
  applyJwtSessionContext(transaction: LiteConnection["kysely"]): Promise<void>;
}

function insides(connection: LiteConnection): Insides {
  return connection as unknown as Insides;
}
