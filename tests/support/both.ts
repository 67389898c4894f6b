/** One call, asked of the primary and of its standby, and whether both say the same. */
import type { Database } from "./database.ts";
import type { Replicated } from "./standby.ts";

/** What came of it: the answer, or how it was refused. */
export type Heard = { answer: unknown } | { code: string; message: string };

export type Claims = Record<string, unknown> & { role: string };

/** Asks in a transaction that is rolled back: nothing is kept, of the primary neither. */
export async function hear(db: Database, claims: Claims, sql: string, values: unknown[]): Promise<Heard> {
  const client = await db.api.connect();
  try {
    await client.query("begin");
    await client.query("select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)", [
      claims.role,
      JSON.stringify(claims),
    ]);
    const { rows } = await client.query<{ value: unknown }>(sql, values);
    return { answer: rows.map(({ value }) => value) };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === undefined) throw error;
    return { code, message };
  } finally {
    await client.query("rollback");
    client.release();
  }
}

/** Asks both, one after the other. */
export async function hearBoth(
  { primary, standby }: Replicated,
  claims: Claims,
  sql: string,
  values: unknown[],
): Promise<{ there: Heard; here: Heard }> {
  const there = await hear(primary, claims, sql, values);
  const here = await hear(standby, claims, sql, values);
  return { there, here };
}

/** The same but for the clock: moments less than a minute apart are one. Otherwise, where they differ. */
export function differences(there: unknown, here: unknown, at = ""): string[] {
  if (there === here) return [];
  if (typeof there === "string" && typeof here === "string") {
    const [one, other] = [there, here].map((text) => (moment.test(text) ? Date.parse(text) : NaN));
    if (Math.abs(one! - other!) < 60_000) return [];
  } else if (isObject(there) && isObject(here)) {
    const names = new Set([...Object.keys(there), ...Object.keys(here)]);
    return [...names].flatMap((name) => differences(there[name], here[name], `${at}/${name}`));
  }
  return [`${at}: ${JSON.stringify(there)} there, ${JSON.stringify(here)} here`];
}

const moment = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d/;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
