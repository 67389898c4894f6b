/**
 * The partitions of the ledger and of the usage, and others in their place while the table is being written: made beside
 * it, filled from it while a trigger copies what comes, compared with it, and put in its place in one short transaction
 * (decisions 79 and 80).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "local-platform/terminal/failure";
import { Refusal } from "../command.ts";
import { inTransaction, select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** A table of the books that is stored in partitions. */
export interface Partitioned {
  name: "token_transactions" | "token_usage";
  /** What a person calls it, and its rows. */
  what: string;
  rows: string;
  by: string;
  key: string;
  /** What its partitions have beside what the table gives them. */
  guard?: (partition: string) => string;
}

export const ledger: Partitioned = {
  name: "token_transactions",
  what: "ledger",
  rows: "entries",
  by: "hash (user_id)",
  key: "user_id, id",
  // for a statement that names the partition itself
  guard: (partition) =>
    `create trigger token_transactions_keep_append_only
       before update or delete or truncate on ${partition}
       for each statement execute function tokenbook.keep_ledger_append_only()`,
};

export const usage: Partitioned = {
  name: "token_usage",
  what: "usage",
  rows: "uses",
  by: "range (created_at)",
  key: "user_id, id, created_at",
};

const tableOf = ({ name }: Partitioned): string => `public.${name}`;
/** What is to become its partitions, partitioned as it is. */
const nextOf = ({ name }: Partitioned): string => `tokenbook.${name}_next`;
/** What that is filled from, and how far: gone with it. */
const copyingOf = ({ name }: Partitioned): string => `tokenbook.${name}_copying`;
const triggerOf = ({ name }: Partitioned): string => `${name}_are_copied`;
/** What the name of each of these partitions ends with, until it is in its place. */
const beingFilled = "_next";
const functionOf = ({ name }: Partitioned): string => `tokenbook.copy_${name}()`;

export interface Partition {
  name: string;
  /** As Postgres writes it: FOR VALUES … */
  bound: string;
  /** With its indexes. */
  bytes: number;
  /** How many rows the planner believes that there are; null: it has not counted them yet. */
  rows: number | null;
}

export interface Partitions {
  parts: Partition[];
  /** Those that are to come, where such a change was begun and is not at its end. */
  begun: Partition[] | null;
  /** Whether what is written is copied there already. */
  isCopied: boolean;
}

/** What the table is stored in now. */
export async function partitionsOf(client: SqlClient, of: Partitioned): Promise<Partitions> {
  const [row] = await select<{ is_begun: boolean; is_copied: boolean }>(
    client,
    `select to_regclass('${nextOf(of)}') is not null as is_begun, to_regclass('${copyingOf(of)}') is not null as is_copied`,
  );
  return {
    parts: await partsOf(client, tableOf(of)),
    begun: row!.is_begun ? await partsOf(client, nextOf(of)) : null,
    isCopied: row!.is_copied,
  };
}

const finalName = ({ name }: Pick<Partition, "name">): string => name.slice(0, -beingFilled.length);

/** Where a partition by time ends, as Postgres writes it; one that has no end comes behind all, by its name. */
const endOf = ({ name, bound }: Pick<Partition, "name" | "bound">): string =>
  /TO \('(.*)'\)/.exec(bound)?.[1] ?? `${noEnd}${name}`;
const noEnd = "~";

async function partsOf(client: SqlClient, parent: string): Promise<Partition[]> {
  await client.query("set timezone = 'UTC'"); // in which bounds are printed, and plans write them
  const rows = await select<Record<"name" | "bound" | "bytes", string> & { rows: string | null }>(
    client,
    `select format('%I.%I', c.relnamespace::regnamespace, c.relname) as name, pg_get_expr(c.relpartbound, c.oid) as bound,
            pg_total_relation_size(c.oid) as bytes, nullif(c.reltuples, -1)::bigint as rows
       from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = '${parent}'::regclass`,
  );
  return rows
    .map((part) => ({
      ...part,
      bytes: Number(part.bytes),
      rows: part.rows === null ? null : Number(part.rows),
    }))
    .sort((a, b) => (endOf(a) < endOf(b) ? -1 : 1)); // by time
}

/** What the partitions are to be. */
export interface Plan {
  parts: {
    /** While it is being filled, with `_next` behind it: one that it replaces may have the name. */
    name: string;
    comment: string;
    /** FOR VALUES … */
    bound: string;
    /** The same as a condition: or each row would be read again, and nobody could write, when they are put in place. */
    check: string;
  }[];
  /** In the place of which partitions. */
  old: string[];
  /** Of what is written, as `new`: what belongs in them. */
  concerns: string;
}

/** The whole ledger in so many partitions, by user. */
export async function planByUser(client: SqlClient, number: number): Promise<Plan> {
  const [row] = await select<{ identity: string }>(
    client,
    `select '${tableOf(ledger)}'::regclass::oid::bigint as identity`,
  );
  return {
    parts: Array.from({ length: number }, (_, nth) => ({
      name: `tokenbook.token_transactions_${number}_${nth}`,
      comment: `One of the ${number} partitions of the ledger, by user.`,
      bound: `for values with (modulus ${number}, remainder ${nth})`,
      check: `satisfies_hash_partition('${row!.identity}'::oid, ${number}, ${nth}, user_id)`,
    })),
    old: (await partsOf(client, tableOf(ledger))).map(({ name }) => name),
    concerns: "true",
  };
}

const months = { month: 1, quarter: 3, year: 12 } as const;
export type Span = keyof typeof months;
export const spans = Object.keys(months) as Span[];

/** Most partitions that the usage has: a use that is asked for by its id is looked for in each of them. */
const mostParts = 200;

/**
 * The last partition of the usage in pieces of so long (UTC) as far as now. The last of them has no end: there is one for
 * whatever comes. Nothing, where it is of one such time.
 *
 * @throws Refusal when there would be too many.
 */
export async function planByTime(client: SqlClient, by: Span): Promise<Plan | undefined> {
  const all = await partsOf(client, tableOf(usage));
  const last = all.find(({ bound }) => bound.endsWith("TO (MAXVALUE)"))!;
  const from = /FROM \('(.*)'\)/.exec(last.bound)?.[1] ?? null;
  const starts = await select<{ at: string; label: string }>(
    client,
    `select s.at::text, to_char(s.at, 'YYYY_MM') as label
       from generate_series(
              date_trunc($1, coalesce($2::timestamptz, (select min(u.created_at) from public.token_usage u), now())),
              date_trunc($1, now()), make_interval(months => $3)) series (starts_at)
      cross join lateral (select greatest(series.starts_at, $2::timestamptz) as at) s
      order by 1`,
    [by, from, months[by]],
  );
  if (starts.length <= 1) return undefined;
  if (all.length + starts.length > mostParts)
    throw new Refusal(
      `That would be ${all.length + starts.length - 1} partitions, and ${mostParts} are the most: take a longer time for each.`,
    );
  return {
    parts: starts.map(({ at, label }, nth) => {
      const end = starts[nth + 1];
      const start = nth === 0 ? from : at;
      const conditions = [
        ...(start === null ? [] : [`created_at >= '${start}'`]),
        ...(end === undefined ? [] : [`created_at < '${end.at}'`]),
      ];
      return {
        name: `tokenbook.token_usage_${end === undefined ? `since_${label}` : start === null ? `until_${end.label}` : label}`,
        comment: `The usage${start === null ? "" : ` from ${start}`}${end === undefined ? "" : ` to ${end.at}`}: a partition by time.`,
        bound: `for values from (${start === null ? "minvalue" : `'${start}'`}) to (${end === undefined ? "maxvalue" : `'${end.at}'`})`,
        check: conditions.join(" and "),
      };
    }),
    old: [last.name],
    concerns: from === null ? "true" : `new.created_at >= '${from}'`,
  };
}

/**
 * One partition of the usage in the place of all that end by that moment. What was taken out of them, into archives, is
 * given back to the disk with them. Nothing, where none ends by then.
 */
export async function planJoined(client: SqlClient, before: string): Promise<Plan | undefined> {
  const parts = await partsOf(client, tableOf(usage));
  const ends = await select<{ name: string; at: string; label: string }>(
    client,
    `select p.name, e.at::text, to_char(e.at, 'YYYY_MM') as label
       from unnest($1::text[], $2::text[]) as p (name, at)
      cross join lateral (select p.at::timestamptz as at) e
      where e.at <= $3::timestamptz order by e.at`,
    [...endsOf(parts), before],
  );
  const last = ends.at(-1);
  if (last === undefined) return undefined;
  let reached = "FOR VALUES FROM (MINVALUE)";
  for (const { name, bound } of parts) {
    if (!bound.startsWith(reached))
      throw new Refusal(`There is no partition for what comes before ${name}: attach it again first.`);
    reached = `FOR VALUES FROM ('${endOf({ name, bound })}')`;
  }
  return {
    parts: [
      {
        name: `tokenbook.token_usage_until_${last.label}`,
        comment: `The usage to ${last.at}: a partition by time.`,
        bound: `for values from (minvalue) to ('${last.at}')`,
        check: `created_at < '${last.at}'`,
      },
    ],
    old: ends.map(({ name }) => name),
    concerns: `new.created_at < '${last.at}'`,
  };
}

/** The partitions that have an end, and their ends. */
function endsOf(parts: Partition[]): [names: string[], ends: string[]] {
  const ended = parts.filter((part) => !endOf(part).startsWith(noEnd));
  return [ended.map(({ name }) => name), ended.map(endOf)];
}

/** Whether what was begun is what is wished now; where the last one begins is as of then. */
export const isOfPlan = (begun: Partition[], wished: Plan | undefined): boolean =>
  begun.every(
    ({ bound }) =>
      bound.endsWith("TO (MAXVALUE)") || wished?.parts.some((part) => part.bound === bound.toLowerCase()),
  );

/**
 * Makes the partitions, and then the trigger that copies what is written from now on. For the trigger it waits for those
 * who write now, and makes those who come wait: half a second at most, a few times if it has to be.
 *
 * @throws Refusal when the connection's role does not own the table.
 */
export async function begin(
  client: SqlClient,
  of: Partitioned,
  { parts, old, concerns }: Plan,
): Promise<void> {
  await requireOwner(client, of);
  for (const { name } of parts) {
    const [taken] = await select<{ name: string }>(
      client,
      "select n.name from unnest($1::text[]) as n (name) where to_regclass(n.name) is not null and n.name <> all ($2) limit 1",
      [[name, `${name}${beingFilled}`], old],
    );
    if (taken !== undefined)
      throw new Refusal(`There is a table ${taken.name} already, and nobody declared it: see what it is.`);
  }
  const columns = await columnsOf(client, of);
  const [next, copying] = [nextOf(of), copyingOf(of)];
  await inTransaction(client, async () => {
    await client.query(`create table ${next} (like ${tableOf(of)} including all) partition by ${of.by}`);
    await client.query(`comment on table ${next} is 'The next partitions of the ${of.what}: being filled.'`);
    await closeTable(client, next);
    for (const { name: last, comment, bound, check } of parts) {
      const name = `${last}${beingFilled}`;
      await client.query(`create table ${name} partition of ${next} ${bound}`);
      await client.query(`alter table ${name} add constraint is_of_its_partition check (${check})`);
      await client.query(`comment on table ${name} is '${comment}'`);
      if (of.guard !== undefined) await client.query(of.guard(name));
      await closeTable(client, name);
    }
  });
  await whileNobody(client, of, "share row exclusive", async () => {
    await client.query(
      `create table ${copying} as
       select p.name as partition, 0::bigint as page, pg_relation_size(p.name::regclass) / current_setting('block_size')::bigint as pages,
              null::xid8 as transaction_id
         from unnest($1::text[]) as p (name)`,
      [old],
    );
    await client.query(
      `comment on table ${copying} is 'How far the next partitions of the ${of.what} are filled.'`,
    );
    await closeTable(client, copying);
    await client.query(
      `create function ${functionOf(of)} returns trigger language plpgsql volatile security invoker
         set search_path = pg_catalog, pg_temp as $$
       begin
         insert into ${next} (${columns.join(", ")}) values (${columns.map((column) => `new.${column}`).join(", ")})
         on conflict (${of.key}) do update set ${columns.map((column) => `${column} = excluded.${column}`).join(", ")};
         return null;
       end
       $$`,
    );
    await client.query(`select tokenbook.withdraw_rights('function', '${functionOf(of)}'::regprocedure)`);
    await client.query(
      `create trigger ${triggerOf(of)} after insert or update on ${tableOf(of)}
         for each row when (${concerns}) execute function ${functionOf(of)}`,
    );
  });
}

/** Pages of a partition that are copied in one transaction: some thousand entries, a second or so. */
const pagesAtOnce = 1024;

/**
 * Copies what was written before, in the order in which it lies there, from where an earlier run was stopped. Says after
 * each portion how much of it is done, 0 to 1.
 */
export async function* copy(client: SqlClient, of: Partitioned): AsyncGenerator<number, void, undefined> {
  const list = (await columnsOf(client, of)).join(", ");
  const copying = copyingOf(of);
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
        `insert into ${nextOf(of)} (${list}) select ${list} from ${place.partition}
          where ctid >= '(${page},0)' and ctid < '(${page + pagesAtOnce},0)'
         on conflict (${of.key}) do nothing`,
      );
      await client.query(
        `update ${copying} set page = least(page + ${pagesAtOnce}, pages), transaction_id = pg_current_xact_id() where partition = $1`,
        [place.partition],
      );
    });
  }
}

/** How many rows, and a digest of all that stands in them, whatever their order. */
export interface Digest {
  rows: number;
  digest: string;
}

/**
 * Compares the partitions with those that they are to replace as both are at one moment, every column of every row.
 *
 * @throws Refusal when they are not the same.
 */
export async function compare(
  client: SqlClient,
  of: Partitioned,
  say: (part: string) => void,
): Promise<Digest> {
  const columns = await columnsOf(client, of);
  await client.query("begin isolation level repeatable read read only");
  try {
    await client.query("set local statement_timeout = 0");
    const digestOf = async (parts: string[]): Promise<Digest> => {
      let [rows, sum] = [0n, 0n];
      for (const name of parts) {
        say(name);
        const [found] = await select<{ rows: string; sum: string }>(
          client,
          `select count(*) as rows, coalesce(sum(hash_record_extended(row(${columns.map((column) => `t.${column}`).join(", ")}), 0)::numeric), 0) as sum
             from ${name} t`,
        );
        rows += BigInt(found!.rows);
        sum += BigInt(found!.sum);
      }
      return { rows: Number(rows), digest: BigInt.asUintN(128, sum).toString(16).padStart(32, "0") };
    };
    const is = await digestOf(await replacedBy(client, of));
    const willBe = await digestOf((await partsOf(client, nextOf(of))).map(({ name }) => name));
    if (is.rows !== willBe.rows || is.digest !== willBe.digest) {
      throw new Refusal(
        `The ${of.what} has ${is.rows} ${of.rows} (${is.digest}), its next partitions ${willBe.rows} (${willBe.digest}).\nThe ${of.what} is as it was. To begin anew: the same command with --cancel, then again.`,
      );
    }
    return is;
  } finally {
    await client.query("rollback");
  }
}

/** The partitions that those to come are made of. */
const replacedBy = async (client: SqlClient, of: Partitioned): Promise<string[]> =>
  (
    await select<{ name: string }>(client, `select c.partition as name from ${copyingOf(of)} c order by 1`)
  ).map(({ name }) => name);

/**
 * Waits until nobody looks at the database as it was before all was copied: in the new partitions they would miss what
 * was copied since.
 *
 * @throws Failure after so many seconds, with who it is.
 */
export async function waitForOldReaders(
  client: SqlClient,
  of: Partitioned,
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
          and age(a.backend_xmin) >= (select min(age(c.transaction_id::xid)) from ${copyingOf(of)} c)
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
 * Puts the partitions in the place of those that they are made of, and drops these. All of it in one transaction, or nothing.
 *
 * @returns for how many milliseconds nobody could write or read the table.
 */
export async function exchange(client: SqlClient, of: Partitioned): Promise<number> {
  await requireOwner(client, of);
  const table = tableOf(of);
  return await whileNobody(client, of, "access exclusive", async () => {
    await client.query(`drop trigger ${triggerOf(of)} on ${table}`);
    await client.query(`drop function ${functionOf(of)}`);
    const changed = [
      ...(await replacedBy(client, of)),
      ...(await partsOf(client, nextOf(of))).map(finalName),
    ];
    for (const name of await replacedBy(client, of)) {
      await client.query(`alter table ${table} detach partition ${name}`);
      await client.query(`drop table ${name}`);
    }
    for (const { name, bound } of await partsOf(client, nextOf(of))) {
      await client.query(`alter table ${nextOf(of)} detach partition ${name}`);
      await client.query(`alter table ${table} attach partition ${name} ${bound}`);
      await client.query(`alter table ${name} drop constraint is_of_its_partition`);
      await client.query(`alter table ${name} rename to ${finalName({ name }).slice("tokenbook.".length)}`);
    }
    await client.query(`drop table ${nextOf(of)}, ${copyingOf(of)}`);
    // these alone: what else is not as it was made stays a finding of the doctor's
    await client.query("select tokenbook.declare_shape($1)", [changed]);
  });
}

/** Drops what was begun. The table is as it was. */
export async function cancel(client: SqlClient, of: Partitioned): Promise<void> {
  await requireOwner(client, of);
  await whileNobody(client, of, "access exclusive", async () => {
    await client.query(`drop trigger if exists ${triggerOf(of)} on ${tableOf(of)}`);
    await client.query(`drop function if exists ${functionOf(of)}`);
    await client.query(`drop table if exists ${nextOf(of)}, ${copyingOf(of)}`);
  });
}

/** Statistics of the table as a whole, which the server itself makes of each partition alone. */
export async function analyze(client: SqlClient, of: Partitioned): Promise<void> {
  await client.query("set statement_timeout = 0");
  await client.query(`analyze ${tableOf(of)}`);
}

/** Nobody but its owner is to reach it, whatever the project gives away by default. */
async function closeTable(client: SqlClient, name: string): Promise<void> {
  await client.query(`alter table ${name} enable row level security`);
  await client.query(`select tokenbook.withdraw_rights('table', '${name}'::regclass)`);
}

async function columnsOf(client: SqlClient, of: Partitioned): Promise<string[]> {
  const rows = await select<{ name: string }>(
    client,
    `select quote_ident(a.attname) as name
       from pg_attribute a
      where a.attrelid = '${tableOf(of)}'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`,
  );
  return rows.map(({ name }) => name);
}

async function requireOwner(client: SqlClient, of: Partitioned): Promise<void> {
  const [row] = await select<{ owner: string; role: string }>(
    client,
    `select pg_get_userbyid(c.relowner) as owner, current_user as role from pg_class c where c.oid = '${tableOf(of)}'::regclass`,
  );
  if (row!.owner !== row!.role)
    throw new Refusal(`The ${of.what} is ${row!.owner}'s: connect as ${row!.owner}, not ${row!.role}.`);
}

/** Longest wait for the lock: below deadlock_timeout, so that whoever waits behind it is never taken for one in a deadlock. */
const lockTimeoutMs = 500;
/** How often it is tried. */
const tries = 120;

/**
 * Does it in one transaction with a lock that lets nobody write, or nobody write or read, the table. Whoever comes
 * meanwhile waits; where somebody is at it for longer, it gives up its place and tries again a second later.
 *
 * @returns how many milliseconds it had the lock.
 * @throws Failure after two minutes of that.
 */
async function whileNobody(
  client: SqlClient,
  of: Partitioned,
  mode: "share row exclusive" | "access exclusive",
  work: () => Promise<void>,
): Promise<number> {
  for (let nth = 1; ; nth++) {
    let since = 0;
    try {
      await inTransaction(client, async () => {
        await client.query("set local statement_timeout = 0");
        await client.query(`set local lock_timeout = ${lockTimeoutMs}`);
        await client.query(`lock table ${tableOf(of)} in ${mode} mode`);
        since = performance.now();
        await work();
      });
      return Math.round(performance.now() - since);
    } catch (error) {
      if (!["55P03", "40P01"].includes((error as { code?: string }).code ?? "")) throw error;
      if (nth === tries)
        throw new Failure(
          `Somebody reads or writes the ${of.what} all the time, in one long statement.\nThe same command goes on from here, once that has ended.`,
        );
      await sleep(500 + Math.random() * 500);
    }
  }
}
