import { Client } from "pg";

/**
 * Runs `work` on a connection of its own, under an empty search_path: Postgres then qualifies every
 * name that it prints, so that every role reads the same text.
 */
export async function withConnection<Result>(
  databaseUrl: string,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query("set search_path = ''");
    return await work(client);
  } finally {
    await client.end();
  }
}
