/** Many connections doing the same thing at once, and the mix of what came of it. */
import pg from "pg";
import { superuser } from "local-platform/postgres/server";
import type { Database } from "./database.ts";

export interface Storm {
  /** How many connections work at the same time. */
  connections: number;
  /** How many attempts they make together. */
  attempts: number;
  /** One attempt, on a connection as the server (`service_role`). Returns the name of its outcome. */
  run: (client: pg.Client, attempt: number) => Promise<string>;
  /** Ends the storm early: no attempt begins once it is aborted. */
  until?: AbortSignal;
  /** Ends it at the first outcome of such a name: what must never come, and need not come twice to be seen. */
  endsAt?: RegExp;
}

/**
 * Runs a storm to its end. A call that is answered `busy`, which on a slow machine is any of many at one account, is
 * made again, as its caller would: it has changed nothing.
 *
 * @returns how often each outcome came; an attempt that failed counts under `error <SQLSTATE> <message>`,
 *   so that a refusal nobody expected is seen and not lost.
 */
export async function storm(
  db: Database,
  { connections, attempts, run, until, endsAt }: Storm,
): Promise<{ mix: Record<string, number> }> {
  const mix: Record<string, number> = {};
  let next = 0;
  // all connected before the first attempt, or the early ones would have the field to themselves
  const clients = await Promise.all(Array.from({ length: connections }, () => connectAsServer(db)));
  clients.forEach(askAgainWhenBusy);
  let hasCome = false;
  const isOver = () => hasCome || (until?.aborted ?? false);
  const work = async (client: pg.Client) => {
    for (let attempt = next++; attempt < attempts && !isOver(); attempt = next++) {
      const outcome = await run(client, attempt).catch((error: { code?: string; message: string }) => {
        if (error.code === undefined) throw error;
        return `error ${error.code} ${error.message}`;
      });
      mix[outcome] = (mix[outcome] ?? 0) + 1;
      hasCome ||= endsAt?.test(outcome) ?? false;
    }
  };
  try {
    await Promise.all(clients.map(work));
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
  return { mix };
}

/** How often a call is made again that is answered `busy`: then it counts as an error after all. */
const patience = 30;

/** In a transaction, which the refusal has ended, there is nothing to be made again. */
function askAgainWhenBusy(client: pg.Client): void {
  const ask = client.query.bind(client) as (...question: unknown[]) => Promise<unknown>;
  const askPatiently = async (...question: unknown[]): Promise<unknown> => {
    let busy: unknown;
    for (let nth = 0; nth <= patience; nth++) {
      try {
        return await ask(...question);
      } catch (error) {
        const { code } = error as { code?: string };
        if (code === "25P02" && busy !== undefined) throw busy;
        if (code !== "PT503") throw error;
        busy = error;
      }
    }
    throw busy;
  };
  client.query = askPatiently as typeof client.query;
}

/**
 * Has Postgres look for a deadlock when somebody has waited for 0.1 s, not for a whole one, on all connections
 * that are made from now on: a variant in which everybody waits in a circle costs a second for each of them.
 */
export async function findDeadlocksSoon(db: Database): Promise<void> {
  const client = await connectAsOwner(db, superuser);
  await client.query(`alter database ${db.name} set deadlock_timeout = '100ms'`);
  await client.end();
}

/** A connection as the API makes one for the server: `authenticator` that has become `service_role`. */
export async function connectAsServer(db: Database): Promise<pg.Client> {
  const client = await connectAsOwner(db, "authenticator");
  await client.query("set role service_role");
  return client;
}

/** A connection as `postgres`, which may call what no client may. */
export async function connectAsOwner(db: Database, role = "postgres"): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: db.url(role) });
  // A server that is killed ends the connection; the query that was running fails with it.
  client.on("error", () => {});
  await client.connect();
  return client;
}
