import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { clusterOf, localPassword, readRunning } from "local-platform/project/running";
import { readSettings } from "local-platform/project/settings";
import { findProjectRoot, projectAt } from "../project/folder.ts";
import { fileVersions } from "../project/migration-files.ts";

/** The database that a command is about. */
export interface Target {
  /** Connection string, as `postgres`. */
  url: string;
  /** For people: host, port and database, never the password. */
  name: string;
  /** Of a local default: whether a Postgres that is called so can be this project's; null: any is meant. */
  isOwn: ((cluster: string) => boolean) | null;
  /** The folder of the project whose local database it is by default. */
  root?: string;
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
  if (given !== undefined) {
    const url = plainUrl(given);
    return { url, name: nameOf(url), isOwn: null };
  }
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
    root,
  };
}

/**
 * A connection string with everything in its place: host, port, database, user and password, which libpq lets stand
 * behind the ? as well, where they win. What is printed, asked and handed to the Supabase CLI is the same then.
 *
 * @throws Failure when it is no connection string.
 */
function plainUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // a password as it was chosen, and not as a URL writes it, ends the host or hides it
  const isUnescaped = /^postgres(?:ql)?:\/\/[^@]*[#?/ ][^@]*@|^postgres(?:ql)?:\/\/.*@.*@/.test(text);
  if (url === undefined || isUnescaped || !isEncoded(url) || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new Failure(
      noConnectionString +
        (isUnescaped || (url !== undefined && !isEncoded(url))
          ? "\nIn the password write % as %25, # as %23, ? as %3F, / as %2F, @ as %40 and a space as %20."
          : ""),
    );
  }
  const take = (name: string): string | undefined => {
    const value = url.searchParams.getAll(name).at(-1);
    url.searchParams.delete(name);
    return value || undefined;
  };
  if (url.searchParams.has("hostaddr")) {
    throw new Failure("hostaddr in a connection string is not understood here: say the address as its host.");
  }
  const [host, port, database] = [take("host"), take("port"), take("dbname") ?? take("database")];
  const [user, password] = [take("user"), take("password")];
  // the password may stand before a host that is only said behind the ?
  const parts = {
    user: user ?? decodeURIComponent(url.username),
    password: password ?? decodeURIComponent(url.password),
    host: host ?? url.hostname,
    port: port ?? url.port,
    database: database ?? decodeURIComponent(url.pathname.slice(1)),
  };
  if (parts.host === "") throw new Failure(noConnectionString);
  if (/[,/]/.test(parts.host) || parts.port.includes(",")) {
    throw new Failure(
      `${parts.host} is not one host: a socket's folder, or several hosts, are not understood here.`,
    );
  }
  const login = [parts.user, parts.password].filter((part) => part !== "").map(encodeURIComponent);
  const at = login.length === 0 ? "" : `${login.join(":")}@`;
  const address = parts.host.includes(":") && !parts.host.startsWith("[") ? `[${parts.host}]` : parts.host;
  const whole = `${url.protocol}//${at}${address}${parts.port === "" ? "" : `:${parts.port}`}/${encodeURIComponent(parts.database)}${url.search}`;
  if (!URL.canParse(whole)) throw new Failure(noConnectionString);
  return whole;
}

function isEncoded({ username, password, pathname }: URL): boolean {
  try {
    decodeURIComponent(username + password + pathname);
    return true;
  } catch {
    return false;
  }
}

const noConnectionString =
  "That is no connection string. It looks like postgresql://postgres:<password>@<host>:5432/postgres";

/** Host, port and database of a connection string. */
function nameOf(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port || "5432"}${decodeURIComponent(pathname)}`;
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
 * Connects, runs `work` and disconnects. A row that the role does not see is an error there, and not a row less: what a
 * policy hides would be taken for nothing, and booked.
 *
 * @param work is told as whom it is connected.
 * @throws Failure when the database can't be reached, refuses the login, or is another checkout's.
 */
export async function withTarget<T>(
  target: Target,
  work: (client: pg.Client, role: string) => Promise<T>,
): Promise<T> {
  const client = clientOf(target.url);
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    throw new Failure(
      `${target.name} does not answer: ${message || code}` +
        (target.isOwn
          ? "\nStart it first, in another terminal: npx supabase start (in Tokenbook's own repository: npm start)"
          : ""),
    );
  }
  try {
    if (target.isOwn) await refuseAnothers(client, target);
    await client.query("set row_security = off; set datestyle = 'ISO, YMD'");
    const { rows } = await client.query<{ role: string }>("select current_user as role");
    return await work(client, rows[0]!.role);
  } finally {
    await client.end();
  }
}

/** @throws Failure when a file that the connection string names cannot be read. */
function clientOf(url: string): pg.Client {
  try {
    return new pg.Client({
      connectionString: asLibpqMeansIt(url),
      connectionTimeoutMillis: 15_000,
      application_name: "tokenbook",
    });
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (path === undefined) throw error;
    throw new Failure(`${path}, which the connection string names, cannot be read: ${code}.`);
  }
}

/**
 * A port says nothing of whose a database is. What a server says of itself does, and else what is in it.
 *
 * @throws Failure when it is another project's, or no Supabase at all.
 */
async function refuseAnothers(client: pg.Client, { name, isOwn, root }: Target): Promise<void> {
  const { rows } = await client.query<{
    cluster: string;
    version: string;
    is_supabase: boolean;
    has_history: boolean;
  }>(
    `select current_setting('cluster_name') as cluster, current_setting('server_version') as version,
            (select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')) = 3
              and to_regclass('auth.users') is not null as is_supabase,
            to_regclass('supabase_migrations.schema_migrations') is not null as has_history`,
  );
  const { cluster, version, is_supabase: isSupabase, has_history: hasHistory } = rows[0]!;
  const whichIsMeant = "say with --db-url that this one is meant.";
  if (!isOwn!(cluster)) {
    throw new Failure(
      `On this port runs the database of another checkout. Start this one's on another (TOKENBOOK_DB_PORT, TOKENBOOK_API_PORT), or\n${whichIsMeant}`,
    );
  }
  if (cluster.startsWith("local-platform ")) return;
  if (!isSupabase) {
    throw new Failure(
      `At ${name} runs a Postgres ${version} that is no Supabase: it has no roles anon, authenticated and service_role, or no auth.users.\nStart this project's (npx supabase start), on the port of supabase/config.toml, or\n${whichIsMeant}`,
    );
  }
  const files = fileVersions(root!);
  const applied = hasHistory
    ? (await client.query<{ version: string }>("select version from supabase_migrations.schema_migrations"))
        .rows
    : [];
  if (applied.length > 0 && !applied.some((one) => files.includes(one.version))) {
    throw new Failure(
      `At ${name} runs the database of another project: of the ${applied.length} migrations in its history none is in this folder. Give\nthe two different ports in supabase/config.toml, or ${whichIsMeant}`,
    );
  }
}

/**
 * As psql understands it: `sslmode=require`, which Supabase's dashboard prints, is encrypted, and the issuer of the
 * certificate is not checked (Supabase signs its own). A database elsewhere gets its password so if nothing is said.
 */
export function asLibpqMeansIt(url: string): string {
  const parsed = new URL(url);
  const isLocal = ["127.0.0.1", "localhost", "[::1]"].includes(parsed.hostname);
  if (!isLocal && !parsed.searchParams.has("sslmode")) parsed.searchParams.set("sslmode", "require");
  if (parsed.searchParams.has("sslmode")) parsed.searchParams.set("uselibpqcompat", "true");
  return parsed.href;
}
