/**
 * Following a counter: the triggers on the project's table, and what the books have of it when that begins. The only
 * statements of Tokenbook's that make or drop something on a table that is not its own, and only on command.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Failure } from "local-platform/terminal/failure";
import { inTransaction, select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import { areBooksRight, readShadow, type Shadow } from "../data/shadow.ts";
import { Refusal } from "../command.ts";
import { bookChanges } from "./book.ts";
import { examineCounter, findCounter, type Counter, type Place } from "./counter.ts";
import { countUnwritten } from "./keep-in-step.ts";

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
      if (code === "42501") await refuseNotOwned(client, table);
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

/**
 * Any role with the TRIGGER right can create a trigger on a table, and only the table's owner can drop it: a role that
 * could not end a shadow must not begin it.
 *
 * @throws Refusal where this role does not have the rights of the table's owner, or of the one that has our triggers.
 */
async function refuseNotOwned(client: SqlClient, table: string): Promise<void> {
  const [theirs] = await select<{ table: string; owner: string; role: string }>(
    client,
    `select format('%I.%I', n.nspname, c.relname) as table, quote_ident(pg_get_userbyid(c.relowner)) as owner, quote_ident(current_user) as role
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
      where (
              $1 in (format('%I.%I', n.nspname, c.relname), format('%s.%s', n.nspname, c.relname))
              or c.oid in (select g.tgrelid from pg_trigger g where g.tgfoid = to_regprocedure('tokenbook.note_shadow_change()'))
            )
        and not pg_has_role(c.relowner, 'usage')
      limit 1`,
    [table],
  );
  if (theirs === undefined) return;
  throw new Refusal(
    `Triggers on ${theirs.table} are taken away by its owner alone, and ${theirs.role} has not the rights of ${theirs.owner}: grant ${theirs.owner} to ${theirs.role}. Nothing was changed.`,
  );
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
  await dropTriggers(client);
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

/** Takes the triggers away, whatever their table is called by now. */
async function dropTriggers(client: SqlClient): Promise<void> {
  const triggers = await select<{ name: string; table: string }>(
    client,
    `select format('%I', g.tgname) as name, format('%I.%I', n.nspname, c.relname) as table
       from pg_trigger g
       join pg_class c on c.oid = g.tgrelid
       join pg_namespace n on n.oid = c.relnamespace
      where g.tgfoid = to_regprocedure('tokenbook.note_shadow_change()') order by 1`,
  );
  for (const { name, table } of triggers) await client.query(`drop trigger ${name} on ${table}`);
}

/**
 * By how much the import multiplied that source; undefined, when nobody was imported from it.
 *
 * @throws Refusal when it was several numbers.
 */
export async function importedTimes(client: SqlClient, source: string): Promise<string | undefined> {
  const found = await select<{ times: string | null }>(
    client,
    `select distinct trim_scale((t.metadata ->> 'times')::numeric)::text as times from public.token_transactions t
      where t.id = 1 and t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = $1
        and t.metadata ->> 'times' is not null`,
    [source],
  );
  if (found.length > 1) {
    throw new Refusal(
      `${source} was imported with several --times: ${found.map(({ times }) => times).join(", ")}. Which is right nobody can say, and by one of them the books of some are wrong: uninstall, and import once.`,
    );
  }
  return found[0]?.times ?? undefined;
}

/** Says which counter it is, and puts the triggers on it. */
async function beginWith(
  client: SqlClient,
  place: Place & { source: string },
  counter: Counter,
  times: string,
  { grantType, lifetimeDays }: Terms,
  mode: Shadow["mode"],
): Promise<void> {
  await refuseNotOwned(client, counter.table);
  await withTable(client, counter.table, async () => {
    await client.query(
      `insert into tokenbook.shadow
         (source, schema_name, table_name, user_column, amount_column, times, grant_type, lifetime_days, mode, switched_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, case when $9 <> 'shadow' then clock_timestamp() end) on conflict do nothing`,
      [
        place.source,
        place.schema,
        place.table,
        place.userColumn,
        place.amountColumn,
        times,
        grantType,
        lifetimeDays ?? null,
        mode,
      ],
    );
    await putTriggers(client, counter, place, mode === "read_only" ? "refuse" : "note");
  });
}

/**
 * Begins to follow a counter: the triggers, then what there is. What is written between the two is seen by both, and
 * counted once.
 *
 * Of whom it was followed before, what has changed since then is booked. Of anybody else the books have what was imported,
 * unless they say what the counter says: then, whatever happened meanwhile, there is nothing to book.
 */
export async function startShadow(
  client: SqlClient,
  place: Place & { source: string },
  counter: Counter,
  times: string,
  terms: Terms,
): Promise<void> {
  await beginWith(client, place, counter, times, terms, "shadow");
  await begin(client, counter);
}

/** Writes down what there is; also where a run was stopped that had put the triggers on. */
async function begin(client: SqlClient, counter: Counter): Promise<void> {
  await inOneSnapshot(client, async () => {
    // all that the triggers have kept and is visible here is in what is read here
    await client.query(
      `with added as (${addNewcomers(counter)}), gone as (delete from tokenbook.shadow_changes)
       insert into tokenbook.shadow_changes (kind, whose)
       select 'catch_up', b.user_id::text from added b cross join tokenbook.shadow s
        where b.tokens <> trunc(b.amount * s.times)`,
    );
    await client.query(
      `insert into tokenbook.shadow_changes (kind, whose, amount_before, amount_after)
       select 'change', b.user_id::text, b.amount, coalesce(o.amount, 0)
         from tokenbook.shadow s
         join tokenbook.shadow_balances b on b.source = s.source
         left join ${amounts(counter)} o on o.user_id = b.user_id
        where b.amount <> coalesce(o.amount, 0)`,
    );
    await client.query(hasBegun);
  });
}

const hasBegun = "update tokenbook.shadow set is_begun = true where is_only";

/** Ends what a run has begun that was stopped in the middle; nothing, where none was. */
export async function endBeginning(
  client: SqlClient,
  shadow: Shadow,
  counter: Counter,
  stop: AbortSignal,
): Promise<void> {
  if (shadow.isBegun) return;
  const isNew = shadow.mode === "shadow" && shadow.keptAt === null;
  if (isNew) await begin(client, counter);
  else await followFromHere(client, counter, stop);
}

/** Takes what the counter has now for what it is to have: whatever was not seen, whatever could not be booked. */
export async function catchUp(client: SqlClient, shadow: Shadow, counter: Counter): Promise<void> {
  await withTable(client, counter.table, () => putTriggers(client, counter, shadow, "note"));
  await inOneSnapshot(client, async () => {
    await client.query(addNewcomers(counter));
    await client.query(
      `update tokenbook.shadow_balances b set amount = coalesce(o.amount, 0)
         from tokenbook.shadow s
         join tokenbook.shadow_balances k on k.source = s.source
         left join ${amounts(counter)} o on o.user_id = k.user_id
        where b.user_id = k.user_id and b.source = k.source and b.amount <> coalesce(o.amount, 0)`,
    );
    await client.query("delete from tokenbook.shadow_changes");
    await client.query(
      `insert into tokenbook.shadow_changes (kind, whose)
       select 'catch_up', b.user_id::text
         from tokenbook.shadow_balances b join tokenbook.shadow s on s.source = b.source
        where b.tokens <> trunc(b.amount * s.times)`,
    );
  });
}

/**
 * The users who are in the counter and not known yet, as a statement that returns them: the books have of it what was imported, or,
 * where they say what the counter says, or said before the first change that is noted, that. Of books from elsewhere what there was before the first change is not asked for.
 */
const addNewcomers = (counter: Counter): string => `
  insert into tokenbook.shadow_balances (user_id, source, amount, tokens)
  select o.user_id, s.source, o.amount,
         case when t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = s.source then
                case when a.tokens_remaining - a.tokens_owed in (trunc(o.amount * s.times), trunc(w.amount * s.times))
                     then a.tokens_remaining - a.tokens_owed
                     else t.tokens - t.debt_change end
              when a.user_id is not null then trunc(coalesce(w.amount, o.amount) * s.times)
              else 0 end
    from tokenbook.shadow s
   cross join ${amounts(counter)} o
    left join public.token_transactions t on t.user_id = o.user_id and t.id = 1
    left join public.token_accounts a on a.user_id = o.user_id
    left join (
      select lower(c.whose) as whose, (array_agg(c.amount_before order by c.id))[1] as amount
        from tokenbook.shadow_changes c where c.kind = 'change' group by 1) w on w.whose = o.user_id::text
  on conflict do nothing
  returning user_id, amount, tokens`;

/**
 * Begins with the books right: for a counter that an app has kept in step with them itself. Nothing is booked.
 *
 * @param mode not `shadow`.
 */
export async function beginAtBooks(
  client: SqlClient,
  place: Place & { source: string },
  counter: Counter,
  times: string,
  terms: Terms,
  mode: Shadow["mode"],
): Promise<void> {
  await beginWith(client, place, counter, times, terms, mode);
  await followFromHere(client, counter, new AbortController().signal);
}

/**
 * What the books have is what there is, for a counter that was kept in step with them: from here on it is followed by what
 * changes. What went with a truncation is booked before.
 */
export async function followFromHere(client: SqlClient, counter: Counter, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    const isDone = await inOneSnapshot(client, async () => {
      const truncations = await select(
        client,
        "select from tokenbook.shadow_changes c where c.kind = 'truncate' limit 1",
      );
      if (truncations.length > 0) return false;
      await client.query(
        `insert into tokenbook.shadow_balances (user_id, source, amount, tokens)
         select o.user_id, s.source, o.amount - coalesce(w.change, 0), coalesce(a.tokens_remaining - a.tokens_owed, 0)
           from ${amounts(counter)} o
          cross join tokenbook.shadow s
           left join public.token_accounts a on a.user_id = o.user_id
           left join (
             select lower(c.whose) as whose, sum(c.amount_after - c.amount_before) as change
               from tokenbook.shadow_changes c where c.whose is not null group by 1) w on w.whose = o.user_id::text
         on conflict (user_id, source) do update
           set amount = excluded.amount, tokens = excluded.tokens, is_gone = false`,
      );
      // whose row went while nothing was noted
      await client.query(
        `update tokenbook.shadow_balances b set amount = 0, is_gone = true
           from tokenbook.shadow s
          where b.source = s.source
            and not exists (select from ${amounts(counter)} o where o.user_id = b.user_id)
            and not exists (select from tokenbook.shadow_changes c where lower(c.whose) = b.user_id::text)`,
      );
      await client.query(hasBegun);
      return true;
    });
    if (isDone) return;
    await bookChanges(client, stop, () => {}, { beforeBegun: true });
  }
}

/** What each user has of the counter, their rows together. */
const amounts = ({ table, isUser, value }: Counter): string =>
  `(select u.id as user_id, sum(${value}) as amount from ${table} t join auth.users u on ${isUser} group by u.id)`;

/** All of it sees one moment; tried again where a run that books came in between. */
async function inOneSnapshot<T>(client: SqlClient, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await inTransaction(client, async () => {
        await client.query("set transaction isolation level repeatable read");
        await client.query("select from tokenbook.shadow for no key update");
        return await work();
      });
    } catch (error) {
      if ((error as { code?: string }).code !== "40001" || attempt === attempts) throw error;
      await wait(500);
    }
  }
}

/**
 * Ends it: triggers and their function, and what waits. What the books have of the counter stays, so that nothing is booked a
 * second time where it is followed again. The counter's table may be gone.
 */
export async function endShadow(client: SqlClient, shadow: Shadow): Promise<void> {
  await withTable(client, nameOf(shadow), async () => {
    await dropTriggers(client);
    await client.query("drop function if exists tokenbook.note_shadow_change()");
    await client.query("delete from tokenbook.shadow_changes");
    await client.query("delete from tokenbook.shadow");
  });
}

/** Stops noting what is written, so that what is left to book comes to an end. */
export async function stopFollowing(client: SqlClient, shadow: Shadow): Promise<void> {
  await withTable(client, nameOf(shadow), () => dropTriggers(client));
}

const nameOf = ({ schema, table }: Place): string => `${schema}.${table}`;

/**
 * The counter of a shadow, as it is now.
 *
 * @throws Failure when it is not what it was when that began.
 */
export async function counterOf(client: SqlClient, shadow: Shadow): Promise<Counter> {
  refuseAltered((await readShadow(client)) ?? shadow);
  return await findCounter(client, shadow);
}

/** @throws Failure when the counter is not what it was when its shadow began. */
export function refuseAltered({ fault, way }: Shadow): void {
  if (fault !== null) throw new Failure(`${fault}.\nWhat to do: ${way}`);
}

/** As far as the counter of a shadow can be read still, by the name that its table has now; whether or not it can be followed. */
export async function counterAsItIs(client: SqlClient, shadow: Shadow): Promise<Counter | undefined> {
  if (shadow.now === null) return undefined;
  return (await examineCounter(client, { ...shadow, ...shadow.now })).counter;
}

/** Of how many users both have moved since the import, and alike: the app books itself what it writes there. */
export async function countMirrored(
  client: SqlClient,
  counter: Counter,
  source: string,
  times: string,
): Promise<{ count: number; first: string | null }> {
  const [row] = await select<{ count: string; first: string | null }>(
    client,
    `select count(*)::text as count, min(o.user_id::text) as first
       from ${amounts(counter)} o
       join public.token_accounts a on a.user_id = o.user_id
       join public.token_transactions t
         on t.user_id = o.user_id and t.id = 1 and t.entry_type = 'opening_balance' and t.metadata ->> 'imported_from' = $1
      where a.tokens_remaining - a.tokens_owed = trunc(o.amount * $2::numeric)
        and a.tokens_remaining - a.tokens_owed <> t.tokens - t.debt_change
        and not exists (select from tokenbook.shadow_balances b where b.user_id = o.user_id and b.source = $1)`,
    [source, times],
  );
  return { count: Number(row!.count), first: row!.first };
}

/** Of how many users the counter does not say yet what the books say, where it is to: nothing where it is not, or is gone. */
export async function readUnwritten(client: SqlClient, shadow: Shadow): Promise<{ not_written?: number }> {
  if (!areBooksRight(shadow.mode)) return {};
  const counter = await counterAsItIs(client, shadow);
  return counter === undefined ? {} : { not_written: await countUnwritten(client, counter) };
}
