import { AsyncLocalStorage } from "node:async_hooks";
import { App, InMemoryEmailDriver } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

// @supabase/lite serves sign-up and password sign-in. It is an alpha, and some of what it does is wrong
// here; each function below shuts one such thing off from outside. All that is known of its insides
// stands in this file, and docs/decisions/0002-local-platform.md has the list.

/** A connection of @supabase/lite: its own pool. */
export type LiteConnection = ReturnType<typeof createPostgresConnection>;

/** Set while @supabase/lite answers a request. */
const answering = new AsyncLocalStorage<true>();

/**
 * Opens a connection with every patch applied.
 *
 * @param connections at most so many at once.
 */
export function openLite(url: string, connections: number): LiteConnection {
  silenceLogs();
  return createPostgresConnection({
    url,
    postgresOptions: {
      max: connections,
      idle_timeout: 30,
      // Its default prints notices.
      onnotice: () => {},
      types: jsonOnce,
    },
  });
}

/** Lets @supabase/lite answer a request. */
export async function askLite(app: App, request: Request): Promise<Response> {
  return await answering.run(true, () => app.fetch(request));
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
 * Patch 1: lite hands the driver a JSON text, and the driver makes JSON of it once more, so that a
 * user's metadata is stored as a jsonb *string*.
 */
const jsonOnce = {
  json: { to: 114, from: [114], serialize: asItIs, parse: JSON.parse },
  jsonb: { to: 3802, from: [3802], serialize: asItIs, parse: JSON.parse },
};

function asItIs(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * Patch 2: lite prints every error of the database with its stack and the values of the statement.
 * Callers get their answer; the server's log has nothing to say about them.
 */
function silenceLogs(): void {
  for (const method of ["error", "warn"] as const) {
    const print = console[method];
    if (quiet.has(print)) continue;
    const printUnlessLite: typeof print = (...args) => {
      if (answering.getStore() === undefined) print.apply(console, args);
    };
    quiet.add(printUnlessLite);
    console[method] = printUnlessLite;
  }
}
const quiet = new WeakSet<typeof console.error>();
