import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { clusterOf, localPassword, readRunning } from "local-platform/project/running";
import { readSettings } from "local-platform/project/settings";
import { findProjectRoot, projectAt } from "../project/folder.ts";

/** The database that a command is about. */
export interface Target {
  /** Connection string, as `postgres`. */
  url: string;
  /** For people: host, port and database, never the password. */
  name: string;
  /** What is to be said of another checkout's database on this port; null: any is meant. */
  isOwn: ((cluster: string) => boolean) | null;
}

/** The options by which a person says which. */
export interface Where {
  dbUrl?: string | undefined;
  linked?: true | undefined;
  workdir?: string | undefined;
}

/**
 * The database: of `--db-url` or SUPABASE_DB_URL, of the linked project, or the local one of the project that the
 * command is called in, wherever it runs.
 *
 * @throws Failure when that is no connection string, or nothing says which.
 */
export function chooseTarget(where: Where, env: NodeJS.ProcessEnv = process.env): Target {
  const { dbUrl, linked, workdir } = where;
  if (dbUrl !== undefined && linked) throw new Failure("Either --db-url or --linked.");
  // empty counts as not set: that is what a variable left blank in an .env file is
  const given = dbUrl ?? (linked ? undefined : env["SUPABASE_DB_URL"] || undefined);
  if (given !== undefined) return { url: given, name: nameOf(given), isOwn: null };
  const root = findProjectRoot(workdir);
  if (linked) {
    const url = linkedUrl(root, env["SUPABASE_DB_PASSWORD"]);
    return { url, name: `the linked project (${nameOf(url)})`, isOwn: null };
  }
  const project = projectAt(root);
  const port = readRunning(project)?.dbPort ?? readSettings(project, env).dbPort;
  const url = `postgresql://postgres:${localPassword}@127.0.0.1:${port}/postgres`;
  const own = clusterOf(project);
  return {
    url,
    name: `the local database (${nameOf(url)})`,
    // Supabase's own stack and a Postgres of anybody's have other names: they are at a port that this project says
    isOwn: (cluster) => !cluster.startsWith("local-platform ") || cluster === own,
  };
}

/** Host, port and database of a connection string. */
function nameOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  // a password as it was chosen, and not as a URL writes it, ends the host or hides it
  const isUnescaped = /^postgres(?:ql)?:\/\/[^@]*[#?/ ][^@]*@|^postgres(?:ql)?:\/\/.*@.*@/.test(url);
  if (!parsed?.hostname || isUnescaped || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new Failure(
      "That is no connection string. It looks like postgresql://postgres:<password>@<host>:5432/postgres" +
        (isUnescaped
          ? "\nIn the password write % as %25, # as %23, ? as %3F, / as %2F, @ as %40 and a space as %20."
          : ""),
    );
  }
  return `${parsed.hostname}:${parsed.port || "5432"}${parsed.pathname}`;
}

/** The linked project's pooler, as `supabase link` wrote it down. */
function linkedUrl(root: string, password: string | undefined): string {
  const written = join(root, "supabase/.temp/pooler-url");
  if (!existsSync(written)) {
    throw new Failure(
      "This folder is linked to no project, or not by a CLI that writes down how to connect: supabase link, or --db-url with the\n" +
        "connection string that the dashboard shows under Connect.",
    );
  }
  if (!password) {
    throw new Failure("The linked project's database has a password: put it into SUPABASE_DB_PASSWORD.");
  }
  const url = new URL(readFileSync(written, "utf8").trim());
  url.password = encodeURIComponent(password);
  // a session of one's own: what the transaction pooler hands out has no temporary tables
  if (url.port === "6543") url.port = "5432";
  return url.href;
}

/**
 * Connects, runs `work` and disconnects.
 *
 * @throws Failure when the database can't be reached, refuses the login, or is another checkout's.
 */
export async function withTarget<T>(target: Target, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: asLibpqMeansIt(target.url),
    connectionTimeoutMillis: 15_000,
    application_name: "tokenbook",
  });
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    throw new Failure(
      `${target.name} does not answer: ${message || code}` +
        (target.isOwn ? "\nStart it first, in another terminal: npm start, or supabase start" : ""),
    );
  }
  try {
    if (target.isOwn) await refuseAnothers(client, target.isOwn);
    return await work(client);
  } finally {
    await client.end();
  }
}

async function refuseAnothers(client: pg.Client, isOwn: (cluster: string) => boolean): Promise<void> {
  const { rows } = await client.query<{ name: string }>("select current_setting('cluster_name') as name");
  if (!isOwn(rows[0]!.name)) {
    throw new Failure(
      "On this port runs the database of another checkout. Start this one's on another (TOKENBOOK_DB_PORT, TOKENBOOK_API_PORT), or\n" +
        "say with --db-url that the other one is meant.",
    );
  }
}

/**
 * As psql understands it: `sslmode=require`, which Supabase's dashboard prints, is encrypted whoever signed the
 * certificate (Supabase signs its own). A database elsewhere gets its password so if nothing is said.
 */
export function asLibpqMeansIt(url: string): string {
  const parsed = new URL(url);
  const isLocal = ["127.0.0.1", "localhost", "[::1]"].includes(parsed.hostname);
  if (!isLocal && !parsed.searchParams.has("sslmode")) parsed.searchParams.set("sslmode", "require");
  if (parsed.searchParams.has("sslmode")) parsed.searchParams.set("uselibpqcompat", "true");
  return parsed.href;
}
