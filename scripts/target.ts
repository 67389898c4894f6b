import pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { localPassword } from "local-platform/postgres/server";
import { readSettings } from "local-platform/project/settings";
import { project } from "./project.ts";

/** The database that a command is about. */
export interface Target {
  /** Connection string, as `postgres`. */
  url: string;
  /** For people: host, port and database, never the password. */
  name: string;
}

/**
 * The database that a command is about: `remote` when given, else the one that `npm start` runs.
 *
 * @throws Failure when `remote` is no connection string.
 */
export function chooseTarget(remote: string | undefined): Target {
  const url =
    remote ?? `postgresql://postgres:${localPassword}@127.0.0.1:${readSettings(project).dbPort}/postgres`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed?.hostname || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new Failure(
      "That is no connection string. It looks like postgresql://postgres:<password>@<host>:5432/postgres",
    );
  }
  const place = `${parsed.hostname}:${parsed.port || "5432"}${parsed.pathname}`;
  return { url, name: remote === undefined ? `the local database (${place})` : place };
}

/**
 * Connects, runs `work` and disconnects.
 *
 * @throws Failure when the database can't be reached or refuses the login.
 */
export async function withTarget<T>(target: Target, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: encryptedUnlessLocal(target.url),
    connectionTimeoutMillis: 15_000,
  });
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    const isLocal = target.name.startsWith("the local");
    throw new Failure(
      `${target.name} does not answer: ${message || code}` +
        (isLocal ? "\nStart it first, in another terminal: npm start" : ""),
    );
  }
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** node-postgres does not encrypt unless told to; a database elsewhere must not get its password so. */
function encryptedUnlessLocal(url: string): string {
  const parsed = new URL(url);
  const isLocal = ["127.0.0.1", "localhost", "[::1]"].includes(parsed.hostname);
  if (!isLocal && !parsed.searchParams.has("sslmode")) {
    // libpq's meaning of `require`: encrypted, whoever signed the certificate (Supabase signs its own).
    parsed.searchParams.set("sslmode", "require");
    parsed.searchParams.set("uselibpqcompat", "true");
  }
  return parsed.href;
}
