/** Booking what has happened to a counter, portion by portion. */
import { setTimeout as wait } from "node:timers/promises";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";

/** What a run booked: changes, and the tokens that they were. */
export interface Booked {
  booked: number;
  granted: number;
  spent: number;
  owed: number;
  /** Changes of users whom neither auth.users nor the books know. */
  unknown: number;
}

export const nothingBooked: Booked = { booked: 0, granted: 0, spent: 0, owed: 0, unknown: 0 };

/** How many changes a call books: accounts are locked that long, a tenth of a second. */
const mostAtOnce = 100;

/** Another transaction held a lock: a later attempt may succeed. */
const busy = ["PT503", "55P03", "40001", "40P01"];

/**
 * Books what waits when it begins: writers may be faster than this. A change that cannot be booked is set aside with what the
 * database said, and holds up no other user's. What is booked stays booked, whatever stops it.
 *
 * @param stop ends it after a portion.
 * @param beforeBegun also of a shadow that has not begun, for the step that is about to begin it.
 */
export async function bookChanges(
  client: SqlClient,
  stop: AbortSignal,
  onPortion: (booked: number) => void,
  { beforeBegun = false } = {},
): Promise<Booked> {
  const all = { ...nothingBooked };
  let most = mostAtOnce;
  let refused = 0;
  const [newest] = await select<{ id: string }>(
    client,
    "select coalesce(max(c.id), 0)::text as id from tokenbook.shadow_changes c",
  );
  while (!stop.aborted) {
    try {
      const [row] = await select<{ done: (Booked & { waiting: number }) | null }>(
        client,
        "select tokenbook.book_shadow_changes($1, $2) as done",
        [most, beforeBegun],
      );
      refused = 0;
      if (row!.done === null) break;
      for (const key of ["booked", "granted", "spent", "owed", "unknown"] as const) {
        all[key] += Number(row!.done[key]);
      }
      onPortion(all.booked);
      if (!(await waits(client, newest!.id))) break;
      most = Math.min(most * 2, mostAtOnce);
    } catch (error) {
      const { code, message, detail } = error as { code?: string; message: string; detail?: string };
      if (!/^[0-9A-Z]{5}$/.test(code ?? "") || /^(08|57)/.test(code!)) throw error;
      if (busy.includes(code!) && ++refused < 5) await wait(1000);
      else if (most > 1) most = 1;
      else await setAside(client, [code, message, detail].filter((one) => one !== undefined).join(" "));
    }
  }
  return all;
}

/** Whether something of that time does; what went with a truncation has numbers of later, and is of then. */
async function waits(client: SqlClient, newest: string): Promise<boolean> {
  const rows = await select(
    client,
    `select from tokenbook.shadow_changes c
      where c.error is null and (c.id <= $1 or c.kind = 'truncated') limit 1`,
    [newest],
  );
  return rows.length > 0;
}

/** The one that comes next. */
async function setAside(client: SqlClient, error: string): Promise<void> {
  await client.query(
    `update tokenbook.shadow_changes set error = $1
      where id = (select c.id from tokenbook.shadow_changes c where c.error is null order by c.id limit 1)`,
    [error],
  );
}
