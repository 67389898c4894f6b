/**
 * Following a counter: the triggers on the project's table, and what the books have of it when that begins. The only
 * statements of Tokenbook's that make or drop something on a table that is not its own, and only on command.
 */
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { Failure } from "local-platform/terminal/failure";
import { inTransaction, select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import type { Shadow } from "../data/shadow.ts";
import { Refusal } from "../command.ts";
import { findCounter, type Counter, type Place } from "./counter.ts";

const { escapeIdentifier: quoted } = pg;

/** What becomes of the grants that increases are. */
export interface Terms {
  grantType: string;
  lifetimeDays?: number | undefined;
}

/** How often a lock of the project's table is asked for, two seconds each. */
const attempts = 10;

/**
 * Changes something about the project's table: that needs a lock that every write there waits behind, so it is asked for two
 * seconds at a time and let go again.
 *
 * @throws Refusal when it is not to be had.
 */
export async function withTable(client: SqlClient, table: string, work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await inTransaction(client, async () => {
        await client.query("set local lock_timeout = '2s'");
        await work();
      });
      return;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "42501") {
        throw new Refusal(
          `Putting a trigger on ${table} is for its owner: connect as that role. Nothing was changed.`,
        );
      }
      if (code !== "55P03" && code !== "40P01") throw error;
      if (attempt === attempts) {
        throw new Refusal(
          `${table} is in use by a transaction that does not end. Nothing was changed; try again.`,
        );
      }
      await wait(500);
    }
  }
}

/** `note`: what is written is kept, to be booked; `refuse`: an update of the counter is refused. */
type Deed = "note" | "refuse";

/** Puts the triggers on the table, in the place of those that are there. */
export async function putTriggers(
  client: SqlClient,
  { table }: Counter,
  place: Place,
  deed: Deed,
): Promise<void> {
  await dropTriggers(client, table);
  await client.query("select tokenbook.write_shadow_function($1, $2)", [
    place.userColumn,
    place.amountColumn,
  ]);
  const call = `execute function tokenbook.note_shadow_change('${deed}')`;
  const [before, after] = ["old table as tokenbook_before", "new table as tokenbook_after"];
  const rows = { insert: after, update: `${before} ${after}`, delete: before };
  for (const [event, tables] of Object.entries(rows)) {
    if (deed === "refuse" && event !== "update") continue;
    await client.query(
      `create trigger tokenbook_shadow_${event} after ${event} on ${table} referencing ${tables} for each statement ${call}`,
    );
  }
  if (deed === "note") {
    await client.query(
      `create trigger tokenbook_shadow_truncate after truncate on ${table} for each statement ${call}`,
    );
  }
}

/** Takes the triggers off the table, where they are. */
export async function dropTriggers(client: SqlClient, table: string): Promise<void> {
  const triggers = await select<{ name: string }>(
    client,
    `select g.tgname::text as name from pg_trigger g
      where g.tgrelid = to_regclass($1) and g.tgfoid = to_regprocedure('tokenbook.note_shadow_change()') order by 1`,
    [table],
  );
  for (const { name } of triggers) await client.query(`drop trigger ${quoted(name)} on ${table}`);
}

/**
 * By how much the import multiplied that source; undefined, when nobody was imported from it.
 *
 * @throws Refusal when it was several numbers.
 */
export async function importedTimes(client: SqlClient, source: string): Promise<string | undefined> {
  const found = await select<{ times: string | null }>(
    client,
    `select distinct t.metadata ->> 'times' as times from public.token_transactions t
      where t.id = 1 and t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = $1`,
    [source],
  );
  if (found.length > 1) {
    throw new Refusal(
      `${source} was imported with several --times: ${found.map(({ times }) => times).join(", ")}.`,
    );
  }
  return found[0]?.times ?? undefined;
}

/**
 * Begins to follow a counter, or catches up on it where that has begun: the triggers, then what there is. What is written
 * between the two is seen by both, and counted once.
 */
export async function startShadow(
  client: SqlClient,
  place: Place & { source: string },
  counter: Counter,
  times: string,
  { grantType, lifetimeDays }: Terms,
): Promise<void> {
  await withTable(client, counter.table, async () => {
    await client.query(
      `insert into tokenbook.shadow
         (source, schema_name, table_name, user_column, amount_column, times, grant_type, lifetime_days)
       values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`,
      [
        place.source,
        place.schema,
        place.table,
        place.userColumn,
        place.amountColumn,
        times,
        grantType,
        lifetimeDays ?? null,
      ],
    );
    await putTriggers(client, counter, place, "note");
  });
  await inOneSnapshot(client, async () => {
    const opened = `t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = s.source`;
    await client.query(
      `insert into tokenbook.shadow_balances (user_id, amount, tokens)
       select o.user_id, o.amount,
              case when ${opened} then t.tokens - t.debt_change
                   -- books of elsewhere: what they have is not compared with what they would have
                   when a.user_id is not null then trunc(o.amount * s.times)
                   else 0 end
         from tokenbook.shadow s
        cross join ${amounts(counter)} o
         left join public.token_transactions t on t.user_id = o.user_id and t.id = 1
         left join public.token_accounts a on a.user_id = o.user_id
       on conflict (user_id) do update set amount = excluded.amount`,
    );
    await client.query(
      `update tokenbook.shadow_balances b set amount = 0
        where b.amount <> 0 and not exists (
          select from ${counter.table} t join auth.users u on ${counter.isUser} where u.id = b.user_id)`,
    );
    // all that the triggers have kept and is visible here is in what was just read
    await client.query("delete from tokenbook.shadow_changes");
    await client.query(
      `insert into tokenbook.shadow_changes (kind, whose)
       select 'catch_up', b.user_id::text from tokenbook.shadow_balances b cross join tokenbook.shadow s
        where b.tokens <> trunc(b.amount * s.times)`,
    );
  });
}

/**
 * What the books have is what there is, for a counter that was kept in step with them: from here on it is followed by what
 * changes.
 */
export async function followFromHere(client: SqlClient, counter: Counter): Promise<void> {
  await inOneSnapshot(client, async () => {
    await client.query(
      `insert into tokenbook.shadow_balances (user_id, amount, tokens)
       select o.user_id, o.amount - coalesce(w.change, 0), coalesce(a.tokens_remaining - a.tokens_owed, 0)
         from ${amounts(counter)} o
         left join public.token_accounts a on a.user_id = o.user_id
         left join (
           select lower(c.whose) as whose, sum(c.amount_after - c.amount_before) as change
             from tokenbook.shadow_changes c where c.kind = 'change' group by 1) w on w.whose = o.user_id::text
       on conflict (user_id) do update set amount = excluded.amount, tokens = excluded.tokens`,
    );
  });
}

/** What each user has of the counter, their rows together. */
const amounts = ({ table, isUser, value }: Counter): string =>
  `(select u.id as user_id, sum(${value}) as amount from ${table} t join auth.users u on ${isUser} group by u.id)`;

/** All of it sees one moment; tried again where a run that books came in between. */
async function inOneSnapshot(client: SqlClient, work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await inTransaction(client, async () => {
        await client.query("set transaction isolation level repeatable read");
        await client.query("select from tokenbook.shadow for no key update");
        await work();
      });
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== "40001" || attempt === attempts) throw error;
      await wait(500);
    }
  }
}

/** Ends it: triggers and their function, what waits, what is known of it. The counter's table may be gone. */
export async function endShadow(client: SqlClient, shadow: Shadow): Promise<void> {
  const table = `${quoted(shadow.schema)}.${quoted(shadow.table)}`;
  await withTable(client, table, async () => {
    await dropTriggers(client, table);
    await client.query("drop function if exists tokenbook.note_shadow_change()");
    await client.query("delete from tokenbook.shadow_changes");
    await client.query("delete from tokenbook.shadow_balances");
    await client.query("delete from tokenbook.shadow");
  });
}

/** Stops noting what is written, so that what is left to book comes to an end. */
export async function stopFollowing(client: SqlClient, shadow: Shadow): Promise<void> {
  const table = `${quoted(shadow.schema)}.${quoted(shadow.table)}`;
  await withTable(client, table, () => dropTriggers(client, table));
}

/**
 * The counter of a shadow.
 *
 * @throws Failure when its column is gone.
 */
export async function counterOf(client: SqlClient, shadow: Shadow): Promise<Counter> {
  const counter = await findCounter(client, shadow);
  if (counter === undefined) {
    throw new Failure(
      `${shadow.schema}.${shadow.table}.${shadow.amountColumn} is gone. To end its shadow: npx tokenbook shadow --stop`,
    );
  }
  return counter;
}
