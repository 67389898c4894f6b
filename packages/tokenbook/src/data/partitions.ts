/**
 * The ledger's partitions, and another number of them while it is being written: made beside it, filled from it while a
 * trigger copies what comes, compared with it, and put in its place in one short transaction (decision 79).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";
import { inTransaction, select } from "./client.ts";
import type { SqlClient } from "./client.ts";

const ledger = "public.token_transactions";
/** What is to become the ledger's partitions, partitioned as the ledger will be. */
const next = "tokenbook.token_transactions_next";
/** How far it is filled: gone with it. */
const copying = "tokenbook.token_transactions_copying";

export interface Partitions {
  /** How many the ledger has. */
  number: number;
  /** Their sizes together with their indexes. */
  bytes: number;
  /** How many entries the planner believes that there are. */
  entries: number;
  /** How many it is to have, where such a change was begun and is not at its end. */
  begun: number | null;
  /** Whether what is written is copied there already. */
  isCopied: boolean;
}

/** What the ledger is stored in now. */
export async function partitionsOf(client: SqlClient): Promise<Partitions> {
  const [row] = await select<
    Record<"number" | "bytes" | "entries", string> & { begun: string | null; is_copied: boolean }
  >(
    client,
    `select count(*) as number, coalesce(sum(pg_total_relation_size(c.oid)), 0) as bytes,
            coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as entries,
            (select count(*) from pg_inherits n where n.inhparent = to_regclass('${next}') having to_regclass('${next}') is not null) as begun,
            to_regclass('${copying}') is not null as is_copied
       from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = '${ledger}'::regclass`,
  );
  const { number, bytes, entries, begun, is_copied: isCopied } = row!;
  return {
    number: Number(number),
    bytes: Number(bytes),
    entries: Number(entries),
    begun: begun === null ? null : Number(begun),
    isCopied,
  };
}

/**
 * Makes the partitions, and then the trigger that copies what is written from now on. For the trigger it waits for those
 * who write now, and makes those who come wait: half a second at most, a few times if it has to be.
 *
 * @throws Refusal when the connection's role does not own the ledger.
 */
export async function begin(client: SqlClient, number: number): Promise<void> {
  await requireOwner(client);
  const { columns, identity } = await columnsOf(client);
  await inTransaction(client, async () => {
    await client.query(`create table ${next} (like ${ledger} including all) partition by hash (user_id)`);
    await client.query(`comment on table ${next} is 'The ledger''s next partitions: being filled.'`);
    for (let nth = 0; nth < number; nth++) {
      const name = partition(number, nth);
      await client.query(
        `create table ${name} partition of ${next} for values with (modulus ${number}, remainder ${nth})`,
      );
      // or each row would be read again, and nobody could write, when it is put in the ledger's place
      await client.query(
        `alter table ${name} add constraint is_of_its_partition
           check (satisfies_hash_partition('${identity}'::oid, ${number}, ${nth}, user_id))`,
      );
      await client.query(
        `comment on table ${name} is 'One of the ${number} partitions of the ledger, by user.'`,
      );
      await client.query(
        `create trigger token_transactions_keep_append_only
           before update or delete or truncate on ${name}
           for each statement execute function tokenbook.keep_ledger_append_only()`,
      );
    }
    for (const name of [next, ...range(number).map((nth) => partition(number, nth))])
      await closeTable(client, name);
  });
  await whileNobody(client, "share row exclusive", async () => {
    await client.query(
      `create table ${copying} as
       select i.inhrelid::regclass::text as partition, 0::bigint as page, pg_relation_size(i.inhrelid) / current_setting('block_size')::bigint as pages,
              null::xid8 as transaction_id
         from pg_inherits i where i.inhparent = '${ledger}'::regclass`,
    );
    await client.query(`comment on table ${copying} is 'How far the ledger''s next partitions are filled.'`);
    await closeTable(client, copying);
    await client.query(
      `create function tokenbook.copy_entry() returns trigger language plpgsql volatile security invoker
         set search_path = pg_catalog, pg_temp as $$
       begin
         insert into ${next} (${columns.join(", ")}) values (${columns.map((column) => `new.${column}`).join(", ")})
         on conflict (user_id, id) do update set ${columns.map((column) => `${column} = excluded.${column}`).join(", ")};
         return null;
       end
       $$`,
    );
    await client.query(
      "select tokenbook.withdraw_rights('function', 'tokenbook.copy_entry()'::regprocedure)",
    );
    await client.query(
      `create trigger token_transactions_are_copied after insert or update on ${ledger}
         for each row execute function tokenbook.copy_entry()`,
    );
  });
}

/** Pages of a partition that are copied in one transaction: some thousand entries, a second or so. */
const pagesAtOnce = 1024;

/**
 * Copies what was written before, in the order in which it lies there, from where an earlier run was stopped. Says after
 * each portion how much of it is done, 0 to 1.
 */
export async function* copy(client: SqlClient): AsyncGenerator<number, void, undefined> {
  const { columns } = await columnsOf(client);
  const list = columns.join(", ");
  for (;;) {
    const [place] = await select<{ partition: string; page: string; all: string; done: string }>(
      client,
      `select c.partition, c.page, (select sum(a.pages) from ${copying} a) as all, (select sum(a.page) from ${copying} a) as done
         from ${copying} c where c.page < c.pages order by c.partition limit 1`,
    );
    if (place === undefined) return;
    const page = Number(place.page);
    yield Number(place.done) / Number(place.all);
    await inTransaction(client, async () => {
      await client.query("set local statement_timeout = 0");
      await client.query(
        `insert into ${next} (${list}) select ${list} from ${place.partition}
          where ctid >= '(${page},0)' and ctid < '(${page + pagesAtOnce},0)'
         on conflict (user_id, id) do nothing`,
      );
      await client.query(
        `update ${copying} set page = least(page + ${pagesAtOnce}, pages), transaction_id = pg_current_xact_id() where partition = $1`,
        [place.partition],
      );
    });
  }
}

/** The entries, and a digest of all that stands in them, whatever their order. */
export interface Digest {
  entries: number;
  digest: string;
}

/**
 * Compares the partitions with the ledger as both are at one moment, every column of every entry.
 *
 * @throws Refusal when they are not the same.
 */
export async function compare(client: SqlClient, say: (part: string) => void): Promise<Digest> {
  const { columns } = await columnsOf(client);
  await client.query("begin isolation level repeatable read read only");
  try {
    await client.query("set local statement_timeout = 0");
    const digestOf = async (parent: string): Promise<Digest> => {
      let [entries, sum] = [0n, 0n];
      const parts = await select<{ name: string }>(
        client,
        `select i.inhrelid::regclass::text as name from pg_inherits i where i.inhparent = '${parent}'::regclass order by 1`,
      );
      for (const { name } of parts) {
        say(name);
        const [found] = await select<{ entries: string; sum: string }>(
          client,
          `select count(*) as entries, coalesce(sum(hash_record_extended(row(${columns.map((column) => `t.${column}`).join(", ")}), 0)::numeric), 0) as sum
             from ${name} t`,
        );
        entries += BigInt(found!.entries);
        sum += BigInt(found!.sum);
      }
      return { entries: Number(entries), digest: BigInt.asUintN(128, sum).toString(16).padStart(32, "0") };
    };
    const [is, willBe] = [await digestOf(ledger), await digestOf(next)];
    if (is.entries !== willBe.entries || is.digest !== willBe.digest) {
      throw new Refusal(
        `The ledger has ${is.entries} entries (${is.digest}), its next partitions ${willBe.entries} (${willBe.digest}).\nThe ledger is as it was. To begin anew: the same command with --cancel, then again.`,
      );
    }
    return is;
  } finally {
    await client.query("rollback");
  }
}

/**
 * Waits until nobody looks at the database as it was before all was copied: in the new partitions they would miss what
 * was copied since.
 *
 * @throws Failure after so many seconds, with who it is.
 */
export async function waitForOldReaders(
  client: SqlClient,
  seconds: number,
  say: (pid: number) => void,
): Promise<void> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const [reader] = await select<{ pid: number; role: string; since: string }>(
      client,
      `select a.pid, a.usename as role, a.xact_start::text as since
         from pg_stat_activity a
        where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_xmin is not null
          and a.backend_type = 'client backend'
          and age(a.backend_xmin) >= (select min(age(c.transaction_id::xid)) from ${copying} c)
        order by a.xact_start limit 1`,
    );
    if (reader === undefined) return;
    if (Date.now() > end) {
      throw new Failure(
        `Process ${reader.pid} (${reader.role}) reads since ${reader.since}, before all was copied.\nThe same command goes on from here, once it has ended.`,
      );
    }
    say(reader.pid);
    await sleep(500);
  }
}

/**
 * Puts the partitions in the ledger's place, and drops those that it had. All of it in one transaction, or nothing.
 *
 * @returns for how many milliseconds nobody could write or read the ledger.
 */
export async function exchange(client: SqlClient, number: number): Promise<number> {
  await requireOwner(client);
  return await whileNobody(client, "access exclusive", async () => {
    const old = await select<{ name: string }>(
      client,
      `select i.inhrelid::regclass::text as name from pg_inherits i where i.inhparent = '${ledger}'::regclass`,
    );
    await client.query(`drop trigger token_transactions_are_copied on ${ledger}`);
    await client.query("drop function tokenbook.copy_entry()");
    for (const { name } of old) {
      await client.query(`alter table ${ledger} detach partition ${name}`);
      await client.query(`drop table ${name}`);
    }
    for (let nth = 0; nth < number; nth++) {
      const name = partition(number, nth);
      await client.query(`alter table ${next} detach partition ${name}`);
      await client.query(
        `alter table ${ledger} attach partition ${name} for values with (modulus ${number}, remainder ${nth})`,
      );
      await client.query(`alter table ${name} drop constraint is_of_its_partition`);
    }
    await client.query(`drop table ${next}, ${copying}`);
    await client.query("select tokenbook.declare_shape()");
  });
}

/** Drops what was begun. The ledger is as it was. */
export async function cancel(client: SqlClient): Promise<void> {
  await requireOwner(client);
  await whileNobody(client, "access exclusive", async () => {
    await client.query(`drop trigger if exists token_transactions_are_copied on ${ledger}`);
    await client.query("drop function if exists tokenbook.copy_entry()");
    await client.query(`drop table if exists ${next}, ${copying}`);
  });
}

/** Statistics of the ledger as a whole, which the server itself makes of each partition alone. */
export async function analyze(client: SqlClient): Promise<void> {
  await client.query("set statement_timeout = 0");
  await client.query(`analyze ${ledger}`);
}

/** Nobody but its owner is to reach it, whatever the project gives away by default. */
async function closeTable(client: SqlClient, name: string): Promise<void> {
  await client.query(`alter table ${name} enable row level security`);
  await client.query(`select tokenbook.withdraw_rights('table', '${name}'::regclass)`);
}

const range = (number: number): number[] => Array.from({ length: number }, (_, nth) => nth);

const partition = (number: number, nth: number): string => `tokenbook.token_transactions_${number}_${nth}`;

async function columnsOf(client: SqlClient): Promise<{ columns: string[]; identity: string }> {
  const rows = await select<{ name: string; identity: string }>(
    client,
    `select quote_ident(a.attname) as name, a.attrelid::bigint as identity
       from pg_attribute a
      where a.attrelid = '${ledger}'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`,
  );
  return { columns: rows.map(({ name }) => name), identity: rows[0]!.identity };
}

async function requireOwner(client: SqlClient): Promise<void> {
  const [row] = await select<{ owner: string; role: string }>(
    client,
    `select pg_get_userbyid(c.relowner) as owner, current_user as role from pg_class c where c.oid = '${ledger}'::regclass`,
  );
  if (row!.owner !== row!.role)
    throw new Refusal(`The ledger is ${row!.owner}'s: connect as ${row!.owner}, not ${row!.role}.`);
}

/** Longest wait for the lock: below deadlock_timeout, so that whoever waits behind it is never taken for one in a deadlock. */
const lockTimeoutMs = 500;
/** How often it is tried. */
const tries = 120;

/**
 * Does it in one transaction with a lock that lets nobody write, or nobody write or read, the ledger. Whoever comes
 * meanwhile waits; where somebody is at it for longer, it gives up its place and tries again a second later.
 *
 * @returns how many milliseconds it had the lock.
 * @throws Failure after two minutes of that.
 */
async function whileNobody(
  client: SqlClient,
  mode: "share row exclusive" | "access exclusive",
  work: () => Promise<void>,
): Promise<number> {
  for (let nth = 1; ; nth++) {
    let since = 0;
    try {
      await inTransaction(client, async () => {
        await client.query("set local statement_timeout = 0");
        await client.query(`set local lock_timeout = ${lockTimeoutMs}`);
        await client.query(`lock table ${ledger} in ${mode} mode`);
        since = performance.now();
        await work();
      });
      return Math.round(performance.now() - since);
    } catch (error) {
      if (!["55P03", "40P01"].includes((error as { code?: string }).code ?? "")) throw error;
      if (nth === tries)
        throw new Failure(
          "Somebody reads or writes the ledger all the time, in one long statement.\nThe same command goes on from here, once that has ended.",
        );
      await sleep(500 + Math.random() * 500);
    }
  }
}
