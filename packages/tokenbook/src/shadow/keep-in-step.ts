/** Keeping a counter in step with the books, once these are right: so that what reads it goes on reading what is true. */
import { inTransaction, select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import type { Counter } from "./counter.ts";

/** What a run wrote into the counter. */
export interface Written {
  users: number;
  /** Whom it could not write, the first hundred, and why: the next run tries again. */
  failed: { user: string; why: string }[];
}

/** How many rows a transaction writes: they are locked that long. */
const portion = 500;

/**
 * What the counter is to say: the balance less what is owed, cut to the digits and the size that it can have, and what the
 * app wrote there that is not booked yet.
 *
 * @param books in tokens.
 * @param waiting in the counter's unit.
 */
export function desired(
  { scale, most, isFloat, type }: Counter,
  books: string,
  waiting: string,
  times: string,
): string {
  const amount = `trim_scale(trunc(${books} / ${times}, ${scale}))`;
  const cut = `(${most === null ? amount : `greatest(least(${amount}, ${most}), -(${most}))`} + ${waiting})`;
  return isFloat ? `(${cut}::${type}::text::numeric)` : cut;
}

/** Of a user `u` of auth.users and a shadow `s`. */
const books =
  "coalesce((select a.tokens_remaining - a.tokens_owed from public.token_accounts a where a.user_id = u.id), 0)";
const waiting = `coalesce((select sum(c.amount_after - c.amount_before) from tokenbook.shadow_changes c where lower(c.whose) = u.id::text), 0)`;

/** All rows went at once, and what the books have of them is not taken back yet. */
const isTruncated = "exists (select from tokenbook.shadow_changes c where c.kind = 'truncate')";

/** The users whose balance differs from their counter, as the rest of a statement. */
const behindIn = (counter: Counter): string =>
  `from ${counter.table} t
         join auth.users u on ${counter.isUser}
        cross join tokenbook.shadow s
         left join public.token_accounts a on a.user_id = u.id
         left join (
           select lower(c.whose) as whose, sum(c.amount_after - c.amount_before) as change
             from tokenbook.shadow_changes c where c.whose is not null group by 1) w on w.whose = u.id::text
        where ${counter.value} <> ${desired(counter, "coalesce(a.tokens_remaining - a.tokens_owed, 0)", "coalesce(w.change, 0)", "s.times")}`;

/** Writing what is right into the counter, as the beginning of a statement: `changed` has whose was written. */
const changedIn = (counter: Counter, whose: string): string => `now_right as (
       select u.id, ${desired(counter, books, waiting, "s.times")} as amount, ${books} as tokens, ${waiting} as waiting
         from auth.users u
         join ${counter.table} t on ${counter.isUser}
        cross join tokenbook.shadow s
        where ${whose} and not ${isTruncated}
     ), changed as (
       update ${counter.table} t
          set ${counter.column} = r.amount::${counter.type}
         from now_right r
         join auth.users u on u.id = r.id
        where ${counter.isUser} and ${counter.value} <> r.amount
       returning r.id, r.amount, ${counter.value} as came, r.tokens, r.waiting
     )`;

/** Writing everybody's, in a statement; and how many are not right after that. For an uninstall. */
export const lastWrite = (counter: Counter): string =>
  `with ${changedIn(counter, "true")} select from changed`;
export const stillBehind = (counter: Counter): string => `select count(*) ${behindIn(counter)}`;

/** Of how many users the counter does not say yet what the books say. */
export async function countUnwritten(client: SqlClient, counter: Counter): Promise<number> {
  const [row] = await select<{ count: string }>(
    client,
    `select count(*)::text as count ${behindIn(counter)}`,
  );
  return Number(row!.count);
}

/**
 * Writes the balance of everybody whose counter says something else. Rows that somebody has locked are left for the next
 * run, so that this never waits and causes no deadlock. What a trigger or a rule of the project's refuses is
 * said, and does not stop the others' writes. The books do not depend on it.
 *
 * @param stop ends it after a portion.
 */
export async function keepInStep(client: SqlClient, counter: Counter, stop: AbortSignal): Promise<Written> {
  const written: Written = { users: 0, failed: [] };
  let after: string | null = null;
  while (!stop.aborted) {
    const behind: { user: string }[] = await select<{ user: string }>(
      client,
      `select ${counter.user}::text as user ${behindIn(counter)}
          and ($1::text is null or ${counter.user} > $1::${counter.userType})
        order by ${counter.user}
        limit ${portion}`,
      [after],
    );
    if (behind.length === 0) {
      await client.query("update tokenbook.shadow set kept_at = clock_timestamp() where is_only");
      break;
    }
    after = behind.at(-1)!.user;
    await write(
      client,
      counter,
      behind.map(({ user }) => user),
      written,
    );
  }
  return written;
}

/** All of them, or by halves, where something of the project's refuses one. */
async function write(client: SqlClient, counter: Counter, users: string[], written: Written): Promise<void> {
  try {
    const now = await inTransaction(client, () => writeAtOnce(client, counter, users));
    written.users += now.users;
    written.failed.push(...now.failed.slice(0, 100 - written.failed.length));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (!/^[0-9A-Z]{5}$/.test(code ?? "") || /^(08|57)/.test(code!)) throw error;
    if (users.length > 1) {
      const half = Math.ceil(users.length / 2);
      await write(client, counter, users.slice(0, half), written);
      await write(client, counter, users.slice(half), written);
    } else if (written.failed.length < 100) {
      written.failed.push({ user: users[0]!, why: `${code} ${message}` });
    }
  }
}

async function writeAtOnce(client: SqlClient, counter: Counter, users: string[]): Promise<Written> {
  // sooner than Postgres looks for a deadlock: where a trigger of the project's waits for the books, this gives way
  await client.query("set local lock_timeout = '500ms'");
  // this role sees all rows, as was checked before; with row_security on, the project's triggers keep their usual rights
  await client.query("set local row_security = on");
  // the row's lock keeps other writers out, and by this number the triggers know the writes as our own
  await client.query("update tokenbook.shadow set written_by = pg_current_xact_id() where is_only");
  const locked = await select<{ user: string }>(
    client,
    `select ${counter.user}::text as user from ${counter.table} t
      where ${counter.user} = any ($1::${counter.userType}[]) order by ${counter.user} for no key update skip locked`,
    [users],
  );
  // what the books say now that nobody else can write these rows
  const done = await select<{ user: string; amount: string; came: string; is_kept: boolean }>(
    client,
    `with ${changedIn(counter, `${counter.user} = any ($1::${counter.userType}[])`)}, noted as (
       insert into tokenbook.shadow_balances (user_id, source, amount, tokens)
       select c.id, s.source, c.came - c.waiting, c.tokens from changed c cross join tokenbook.shadow s
       on conflict (user_id, source) do update set amount = excluded.amount, tokens = excluded.tokens, is_gone = false
     )
     select c.id::text as user, c.amount::text, c.came::text, c.came = c.amount as is_kept from changed c`,
    [locked.map(({ user }) => user)],
  );
  const isKept = done.filter(({ is_kept }) => is_kept);
  return {
    users: isKept.length,
    failed: done
      .filter(({ is_kept }) => !is_kept)
      .map(({ user, amount, came }) => ({
        user,
        why: `a trigger of the project's makes ${came} of ${amount}`,
      })),
  };
}
