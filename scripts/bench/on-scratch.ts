/** The frame of a measurement by itself: a throwaway database, a connection to it, what is printed, how it ends. */
import { cpus } from "node:os";
import pg from "pg";
import { reportFailure } from "local-platform/terminal/failure";
import type { PostgresServer } from "local-platform/postgres/server";
import { createProgress } from "../../packages/tokenbook/src/terminal/progress.ts";
import { withInstalledDatabase } from "../schema/scratch-database.ts";

export interface Scratch {
  client: pg.Client;
  url: string;
  server: PostgresServer;
  /** Prints how far it is, for the person at the terminal. */
  say(text: string): void;
  /** A line of the result. */
  print(line: string): void;
  /** The line that says what it was measured on, and of what. */
  printSetting(ofWhat?: string): Promise<void>;
}

interface Options {
  /** What is in the database; left out: what other projects get. */
  having?: typeof withInstalledDatabase;
  /** The role that connects; left out: the owner of the database. */
  as?: string;
}

/** Measures on a database of its own. What goes wrong is said, and the exit code is not 0. */
export async function onScratch(
  measure: (scratch: Scratch) => Promise<void>,
  { having = withInstalledDatabase, as }: Options = {},
): Promise<void> {
  const progress = createProgress(process.stderr, { inLogs: true });
  const print = (line: string) => {
    progress.clear();
    console.log(line);
  };
  try {
    await having((url, server) =>
      withClient(as === undefined ? url : server.url("postgres", as), (client) =>
        measure({
          client,
          url,
          server,
          say: (text) => progress.show(text),
          print,
          printSetting: async (ofWhat) =>
            print([await settingOf(client), ...(ofWhat === undefined ? [] : [ofWhat])].join(", ")),
        }),
      ),
    );
  } catch (error) {
    progress.clear();
    reportFailure(error);
  }
}

/** Runs `work` with a connection that ends with it. */
export async function withClient<Result>(
  connectionString: string,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export async function settingOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query("show server_version");
  return `${new Date().toISOString().slice(0, 10)}, PostgreSQL ${rows[0].server_version}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"})`;
}
