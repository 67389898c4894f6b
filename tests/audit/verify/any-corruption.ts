/**
 * Single fields made wrong by what type they are of, whatever they mean: nobody has chosen them, so they also
 * find what nobody has thought of. Constraints are in force here; what they refuse needs no verifier.
 */
import type pg from "pg";
import type { Database } from "../../support/database.ts";
import { verify } from "./books-to-corrupt.ts";
import { fields, qualified } from "./fields.ts";
import { ownersOf, saidOfOthers } from "./whose.ts";

/** In which way a field goes wrong; what each comes to depends on the field's type. */
export const ways = [
  "more",
  "less",
  "much more",
  "much less",
  "zero",
  "null",
  "something else",
  "another row's",
  "empty",
  "the other way round",
  "added to",
] as const;
export type Way = (typeof ways)[number];

const ofNumbers: Partial<Record<Way, string>> = {
  more: "x.$c + $n",
  less: "x.$c - $n",
  "much more": "x.$c * 3 + 1000",
  "much less": "x.$c / 3 - 1000",
  zero: "0",
};
const ofMoments: Partial<Record<Way, string>> = {
  more: "x.$c + $n * interval '1 second'",
  less: "x.$c - $n * interval '1 second'",
  "much more": "x.$c + interval '40 days'",
  "much less": "x.$c - interval '40 days'",
};
const byType: Record<string, Partial<Record<Way, string>>> = {
  int2: ofNumbers,
  int4: ofNumbers,
  int8: ofNumbers,
  numeric: ofNumbers,
  timestamptz: ofMoments,
  bool: { "the other way round": "not x.$c" },
  text: { "something else": "'something_else'", empty: "''", "added to": "x.$c || 'x'" },
  uuid: { "something else": "gen_random_uuid()" },
  xid8: { "something else": "'7'" },
  bytea: { "something else": "sha256(x.$c)", empty: "''" },
  _uuid: {
    "something else": "gen_random_uuid() || x.$c[2:]",
    empty: "'{}'",
    "added to": "x.$c || gen_random_uuid()",
    less: "x.$c[2:]",
  },
  _int8: {
    more: "x.$c[1] + $n || x.$c[2:]",
    empty: "'{}'",
    "added to": "x.$c || $n::bigint",
    less: "x.$c[2:]",
  },
  jsonb: { empty: "'{}'", "added to": `x.$c || '{"x": 1}'` },
};

/** One field of one row, to be made wrong in one way. */
interface Attempt {
  table: string;
  column: string;
  way: Way;
  /** The new value in SQL. */
  to: string;
  /** The row. */
  at: string;
}

/** What came of the attempts. */
export interface Tally {
  attempts: number;
  /** An invariant was named. */
  seen: number;
  /** A constraint did not let it happen. */
  refused: number;
  /** Nothing was named, and the list says why. */
  free: number;
  /** Nothing was named, and the list does not say so. */
  unseen: string[];
  /** Named for somebody else. */
  blamed: string[];
}

/**
 * Every column, in every way that its type allows, in a row of each kind that the table has.
 *
 * @param most how many attempts, chosen by `chance` (a number below another), evenly over the columns
 */
export async function anyCorruptions(
  db: Database,
  most: number,
  chance: (below: number) => number,
): Promise<Attempt[]> {
  const { rows: columns } = await db.admin.query<{ table: string; column: string; type: string }>(
    `select a.attrelid::regclass::text as table, a.attname as column, t.typname as type
       from pg_attribute a join pg_type t on t.oid = a.atttypid
      where a.attrelid = any ($1::regclass[]) and a.attnum > 0 and not a.attisdropped
      order by 1, a.attnum`,
    [Object.keys(fields).map(qualified)],
  );
  const attempts: Attempt[] = [];
  for (const [table, { kinds }] of Object.entries(tables())) {
    const { rows } = await db.admin.query<{ at: string }>(
      `select distinct on (${kinds}) x.ctid::text as at from ${qualified(table)} x order by ${kinds}, md5(x::text)`,
    );
    for (const { column, type } of columns.filter((one) => one.table === table)) {
      const all: Partial<Record<Way, string>> = {
        ...byType[type],
        null: "null",
        "another row's": `(select y.${column} from ${qualified(table)} y where y.${column} <> x.${column} or x.${column} is null and y.${column} is not null order by md5(y::text) limit 1)`,
      };
      if (byType[type] === undefined) throw new Error(`${table}.${column}: nothing makes a ${type} wrong`);
      for (const { at } of rows)
        for (const [way, to] of Object.entries(all))
          attempts.push({
            table,
            column,
            way: way as Way,
            to: to.replaceAll("$c", column).replaceAll("$n", String((attempts.length % 3) + 1)),
            at,
          });
    }
  }
  while (attempts.length > most) attempts.splice(chance(attempts.length), 1);
  return attempts;
}

/** By table what tells the kinds of its rows apart. */
function tables(): Record<string, { kinds: string }> {
  const kinds: Record<string, string> = {
    token_transactions: "x.entry_type, x.terms is null, x.request is null, x.payment_id is null",
    token_balances:
      "x.grant_type, x.voided_at is null, x.rolled_over_from is null, x.legacy_transaction_id is null, x.metadata ? 'given_back_for', x.is_open, x.expires_at is null, x.payment_id is null, x.cost_basis_of is null",
    token_accounts:
      "x.tokens_owed = 0, x.payer_id is null, x.tokens_reserved = 0, x.last_alert_id = 0, x.last_transaction_id = 0",
    token_usage: "x.success, x.transaction_id is null, x.action_type, x.member_id is null",
    token_holds:
      "x.status, x.usage_id is null, x.overage_id is null, x.member_id is null, x.tokens_captured = 0, x.parent_id is null, x.tokens_passed = 0",
    token_payments: "x.status, x.provider, x.refunded_cents = 0, x.disputed_cents = 0, x.pack_type is null",
    token_top_up_requests: "x.pack_type is null",
    "tokenbook.subscriptions":
      "x.plan_type, x.next_plan_type is null, x.billing_cycle, x.ended_at is null, x.beside = '[]', x.schedule is null",
    "tokenbook.provider_payments":
      "x.user_id is null, x.refunded_cents = 0, x.disputed_cents = 0, x.part_of is null, x.parked_reason, x.pack_type is null, x.disagrees is null",
    "tokenbook.provider_events":
      "x.facts ->> 'kind', x.facts ->> 'status', (select f.part_of is null from tokenbook.provider_payments f where f.provider = x.provider and f.provider_payment_id = x.provider_payment_id)",
    token_team_members: "x.until is null, x.tokens_used = 0",
    token_alerts: "x.kind",
    token_storage_quotas: "x.metadata ? 'plan'",
  };
  return Object.fromEntries(
    Object.keys(fields).map((table) => [table, { kinds: kinds[table] ?? "x is null" }]),
  );
}

/** Makes one field wrong, in a transaction that is rolled back, and adds what came of it to the tally. */
export async function tryAttempt(client: pg.ClientBase, attempt: Attempt, tally: Tally): Promise<void> {
  const { table, column, way, to, at } = attempt;
  const what = `${table}.${column}: ${way}`;
  const row = `(select x from ${qualified(table)} x where x.ctid = '${at}')`;
  await client.query("begin");
  try {
    const { rows: before } = await client.query<{ owners: string[]; free: string | null }>(
      `select ${ownersOf(table)} as owners, (${freedom(table, column, way)}) as free from (select (${row}).*) x`,
    );
    let changed: { rows: { owners: string[]; moved: boolean }[] };
    try {
      changed = await client.query(
        `with old as (select x.ctid as at, x as was from ${qualified(table)} x where x.ctid = '${at}')
         update ${qualified(table)} x set ${column} = ${to} from old where x.ctid = old.at
         returning ${ownersOf(table)} as owners, old.was is distinct from x as moved`,
      );
    } catch (error) {
      // class 23: integrity; 22: out of the type's range
      if (!/^2[23]|^PT/.test(String((error as { code?: string }).code))) throw error;
      tally.attempts++;
      tally.refused++;
      return;
    }
    if (!changed.rows[0]!.moved) return; // it was that already
    tally.attempts++;
    const owners = [...before[0]!.owners, ...changed.rows[0]!.owners];
    const named = await verify(client);
    if (named.length === 0 && before[0]!.free !== null) tally.free++;
    else if (named.length === 0) tally.unseen.push(what);
    else tally.seen++;
    const ofOthers = await saidOfOthers(client, table, owners, named);
    if (ofOthers.length > 0) tally.blamed.push(`${what}: blamed on others: ${JSON.stringify(ofOthers)}`);
  } finally {
    await client.query("rollback");
  }
}

/** Why a row's field may go wrong in that way, as SQL over `x`; null, when it may not. */
function freedom(table: string, column: string, way: Way): string {
  const reasons = (fields[table]![column]?.free ?? []).filter((one) => one.ways?.includes(way) ?? true);
  return `case ${reasons.map(({ where, because }) => `when ${where ?? "true"} then '${because.replaceAll("'", "''")}'`).join(" ")}
               when false then '' end`;
}
