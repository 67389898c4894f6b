/** Many connections doing the same thing at once, and the mix of what came of it. */
import pg from "pg";
import type { Database } from "./database.ts";

export interface Storm {
  /** How many connections work at the same time. */
  connections: number;
  /** How many attempts they make together. */
  attempts: number;
  /** One attempt, on a connection as the server (`service_role`). Returns the name of its outcome. */
  run: (client: pg.Client, attempt: number) => Promise<string>;
}

/**
 * Runs a storm to its end.
 *
 * @returns how often each outcome came; an attempt that failed counts under `error <SQLSTATE> <message>`,
 *   so that a refusal nobody expected is seen and not lost.
 */
export async function storm(
  db: Database,
  { connections, attempts, run }: Storm,
): Promise<{ mix: Record<string, number> }> {
  const mix: Record<string, number> = {};
  let next = 0;
  // all connected before the first attempt, or the early ones would have the field to themselves
  const clients = await Promise.all(Array.from({ length: connections }, () => connect(db)));
  const work = async (client: pg.Client) => {
    for (let attempt = next++; attempt < attempts; attempt = next++) {
      const outcome = await run(client, attempt).catch((error: { code?: string; message: string }) => {
        if (error.code === undefined) throw error;
        return `error ${error.code} ${error.message}`;
      });
      mix[outcome] = (mix[outcome] ?? 0) + 1;
    }
  };
  try {
    await Promise.all(clients.map(work));
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
  return { mix };
}

async function connect(db: Database): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: db.url("authenticator") });
  await client.connect();
  await client.query("set role service_role");
  return client;
}
