/**
 * What the data access needs of a connection: a `pg` client, or anything that answers like one.
 * Statements here are plain SQL, so that their tests run without a server; what needs plpgsql,
 * rights or locks belongs into the database and is tested there.
 */
export interface SqlClient {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

/** Runs `work` in one transaction: all of it, or nothing when it throws. */
export async function inTransaction<T>(client: SqlClient, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

/** Runs `work` and takes all of it back: to see what it would do. */
export async function takenBack<T>(client: SqlClient, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    return await work();
  } finally {
    await client.query("rollback");
  }
}

/** The rows of a query. `T` is what the query says it selects; nothing checks it at run time. */
export async function select<T>(client: SqlClient, text: string, values: unknown[] = []): Promise<T[]> {
  return (await client.query(text, values)).rows as T[];
}

/** Whether no other run does this just now; until the connection ends, none begins. */
export async function isOnlyRun(client: SqlClient, what: string): Promise<boolean> {
  const [row] = await select<{ got: boolean }>(
    client,
    "select pg_try_advisory_lock(hashtextextended('tokenbook ' || $1, 0)) as got",
    [what],
  );
  return row!.got;
}
