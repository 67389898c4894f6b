/*
 * Which clients are sent which changes, and in which form. The checks run from the cheap to the expensive: event and
 * table, conditions, row level security, and at last the JSON of what a client will get.
 */
import type { Caller } from "../gateway/caller.ts";
import type { ApiDatabase } from "../rest/database.ts";
import type { Asked, Condition } from "./filters.ts";
import type { Change, Relation, Tuple } from "./replication.ts";
import { describeTable, encodeRows, meeting } from "./tables.ts";
import type { ColumnNow, TableNow } from "./tables.ts";
import { rowsSeenBy } from "./visibility.ts";

/** One entry of a channel's `postgres_changes`. */
export interface Subscription {
  id: number;
  asked: Asked;
  channel: Listener;
}

/** A channel, as far as changes go. */
export interface Listener {
  /** Whose rights count; another one after the token was renewed. */
  readonly caller: Caller;
  /** @param data JSON of the change. */
  tell(ids: number[], data: string): void;
}

/** The two ways to the database. */
export interface Databases {
  /** As `postgres`: what tables are, conditions, encoding. */
  own: ApiDatabase;
  /** As `authenticator`, which becomes the role of the client that listens. */
  api: ApiDatabase;
}

/** As hosted: of a change that is larger, values of more than 64 bytes are left out. */
const LARGEST_CHANGE = 1024 * 1024;
const LARGEST_VALUE_OF_A_LARGE_CHANGE = 64;

/** So many callers are asked for at once; the API needs its connections too. */
const ASKED_AT_ONCE = 4;

/** Tells everybody of what they asked for and may see, in the order of the changes. */
export async function deliver(
  databases: Databases,
  changes: Change[],
  subscriptions: Iterable<Subscription>,
): Promise<void> {
  const all = [...subscriptions];
  const byRelation = grouped(changes, ({ relation }) => relation);
  const told = await Promise.all(
    [...byRelation].map(async ([relation, ofIt]) => {
      const listening = all.filter(({ asked }) => isOf(asked, relation));
      return listening.length === 0 ? [] : await tellingsOf(databases, relation, ofIt, listening);
    }),
  );
  const byChange = new Map(told.flat().map((one) => [one.change, one.tell]));
  for (const change of changes) byChange.get(change)?.();
}

function isOf({ schema, table }: Asked, relation: Relation): boolean {
  return ["*", relation.schema].includes(schema) && ["*", relation.table].includes(table);
}

interface Telling {
  change: Change;
  tell: () => void;
}

async function tellingsOf(
  databases: Databases,
  relation: Relation,
  changes: Change[],
  listening: Subscription[],
): Promise<Telling[]> {
  const callers = new Map(listening.map((one) => [one, one.channel.caller]));
  const roles = [...new Set([...callers.values()].map(({ role }) => role))];
  const table = await describeTable(databases.own, relation, roles);
  if (table === undefined) return [];
  const met = await conditionsMet(databases.own, table, changes, listening);
  const meets = new Map(listening.map((one) => [one, one.asked.conditions.map(met)]));
  const hears = ({ asked }: Subscription, { type }: Change) => asked.event === "*" || asked.event === type;
  const wanted = changes.map((change, n) =>
    listening.filter((one) => hears(one, change) && meets.get(one)!.every((numbers) => numbers.has(n))),
  );
  const isSeen = await rowLevelSecurity(databases.api, table, changes, wanted, callers);
  const seen = changes.map((change, n) => ({
    change,
    listeners: wanted[n]!.filter((one) => isSeen(callers.get(one)!, n)),
    refused: listening.filter(
      (one) => hears(one, change) && refusalOf(table, change, callers.get(one)!) !== undefined,
    ),
  }));
  const encoded = await encode(
    databases.own,
    table,
    seen.filter(({ listeners }) => listeners.length > 0).map(({ change }) => change),
  );
  return seen
    .filter(({ listeners, refused }) => listeners.length + refused.length > 0)
    .map(({ change, listeners, refused }) => ({
      change,
      tell: () => {
        const roleOf = (one: Subscription) => callers.get(one)!.role;
        tell(refused, roleOf, (one) => refusalText(change, refusalOf(table, change, callers.get(one)!)!));
        tell(listeners, roleOf, (one) => textFor(table, change, encoded, roleOf(one), one.asked.select));
      },
    }));
}

/** One message for each channel and text: the ids of several subscriptions go together. */
function tell(
  subscriptions: Subscription[],
  roleOf: (one: Subscription) => string,
  textOf: (one: Subscription) => string,
): void {
  const texts = new Map<string, string>();
  const messages = new Map<Listener, Map<string, number[]>>();
  for (const one of subscriptions) {
    const key = JSON.stringify([roleOf(one), one.asked.select]);
    const text = texts.get(key) ?? textOf(one);
    texts.set(key, text);
    const ofChannel = messages.get(one.channel) ?? new Map<string, number[]>();
    ofChannel.set(text, [...(ofChannel.get(text) ?? []), one.id]);
    messages.set(one.channel, ofChannel);
  }
  for (const [channel, ofChannel] of messages) {
    for (const [text, ids] of ofChannel) channel.tell(ids, text);
  }
}

/** What a condition is asked of: of a deletion only the key is left. */
function subjectOf(change: Change): Tuple {
  return change.now ?? change.before;
}

/** @returns for a condition, numbers of the changes that meet it. Each distinct condition is asked once. */
async function conditionsMet(
  database: ApiDatabase,
  table: TableNow,
  changes: Change[],
  listening: Subscription[],
): Promise<(condition: Condition) => Set<number>> {
  const nameOf = ({ column, operator, negated, value }: Condition) =>
    JSON.stringify([column, operator, negated, value]);
  const distinct = new Map(
    listening.flatMap(({ asked }) => asked.conditions).map((one) => [nameOf(one), one] as const),
  );
  const groups = grouped(distinct.values(), ({ column, operator, negated, value }) =>
    JSON.stringify([column, operator, negated, operator === "is" ? value : ""]),
  );
  const met = new Map<string, Set<number>>();
  await Promise.all(
    [...groups.values()].map(async (conditions) => {
      const { column } = conditions[0]!;
      const cast = table.columns.find(({ name }) => name === column)?.cast;
      // A column that is gone, and a value that the log does not hold, meet nothing.
      const held = changes.flatMap((change, n) => (subjectOf(change)[column] === undefined ? [] : [n]));
      if (cast === undefined || held.length === 0) return;
      const values = held.map((n) => subjectOf(changes[n]!)[column]!);
      const answers = await meeting(database, cast, values, conditions);
      conditions.forEach((one, i) => met.set(nameOf(one), new Set([...answers[i]!].map((at) => held[at]!))));
    }),
  );
  return (condition) => met.get(nameOf(condition)) ?? new Set();
}

/** What hosted Realtime says instead of a change that it can't check for a role. */
function refusalOf(table: TableNow, { type }: Change, { role }: Caller): string | undefined {
  if (type === "DELETE") return undefined;
  if (table.keys.length === 0) return "Error 400: Bad Request, no primary key";
  return table.keys.every(({ readers }) => readers.has(role)) ? undefined : "Error 401: Unauthorized";
}

/** Asks once for each distinct caller, whatever the number of channels that they have. */
async function rowLevelSecurity(
  database: ApiDatabase,
  table: TableNow,
  changes: Change[],
  wanted: Subscription[][],
  callers: Map<Subscription, Caller>,
): Promise<(caller: Caller, change: number) => boolean> {
  const rowsOf = new Map<string, { caller: Caller; rows: Set<number> }>();
  const names = new Map<Caller, string>();
  const nameOf = (caller: Caller) => {
    const name = names.get(caller) ?? JSON.stringify([caller.role, caller.claims]);
    names.set(caller, name);
    return name;
  };
  const mustAsk = (change: Change) => table.isSecured && change.type !== "DELETE";
  wanted.forEach((listeners, n) => {
    if (!mustAsk(changes[n]!)) return;
    for (const one of listeners) {
      const caller = callers.get(one)!;
      if (refusalOf(table, changes[n]!, caller) !== undefined) continue;
      const known = rowsOf.get(nameOf(caller)) ?? { caller, rows: new Set() };
      known.rows.add(n);
      rowsOf.set(nameOf(caller), known);
    }
  });
  const seen = new Map<string, Set<number>>();
  const questions = [...rowsOf];
  const ask = async () => {
    for (let next = questions.pop(); next !== undefined; next = questions.pop()) {
      const [name, { caller, rows }] = next;
      const numbers = [...rows];
      const keys = numbers.map((n) => table.keys.map((key) => changes[n]!.now![key.name]!));
      const answer = await rowsSeenBy(database, caller, table, keys);
      seen.set(name, new Set([...answer].map((at) => numbers[at]!)));
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
  return (caller, n) => {
    if (refusalOf(table, changes[n]!, caller) !== undefined) return false;
    return !mustAsk(changes[n]!) || seen.get(nameOf(caller))?.has(n) === true;
  };
}

type Encoded = Map<Tuple, Map<string, string>>;

async function encode(database: ApiDatabase, table: TableNow, changes: Change[]): Promise<Encoded> {
  const rows = changes.flatMap(({ now, before }) => (now === undefined ? [before] : [now, before]));
  if (rows.length === 0) return new Map();
  const answers = await encodeRows(database, table.columns, rows);
  return new Map(rows.map((row, n) => [row, answers[n]!]));
}

function textFor(
  table: TableNow,
  change: Change,
  encoded: Encoded,
  role: string,
  select: string[] | undefined,
): string {
  const { type, now, before } = change;
  const isLarge = change.size > LARGEST_CHANGE;
  const columns = table.columns.filter(
    ({ name, isKey, readers }) =>
      readers.has(role) && (select === undefined || isKey || select.includes(name)),
  );
  const record = (row: Tuple, shown: ColumnNow[]) => {
    const values = encoded.get(row)!;
    const fits = ({ name }: ColumnNow) =>
      !isLarge || Buffer.byteLength(values.get(name)!) <= LARGEST_VALUE_OF_A_LARGE_CHANGE;
    const members = shown
      .filter((column) => values.has(column.name) && fits(column))
      .map(({ name }) => `${JSON.stringify(name)}:${values.get(name)!}`);
    return `{${members.join(",")}}`;
  };
  // What remains of a deleted row can't be checked any more: where rows are secured, it is the key.
  const former = type === "DELETE" && table.isSecured ? columns.filter(({ isKey }) => isKey) : columns;
  const members = [
    ...headOf(change),
    `"columns":${JSON.stringify(columns.map(({ name, type: is }) => ({ name, type: is })))}`,
    ...(now === undefined ? [] : [`"record":${record(now, columns)}`]),
    ...(type === "INSERT" ? [] : [`"old_record":${record(before, former)}`]),
    `"errors":${isLarge ? '["Error 413: Payload Too Large"]' : "null"}`,
  ];
  return `{${members.join(",")}}`;
}

function refusalText(change: Change, error: string): string {
  const members = [...headOf(change), '"columns":[]', '"record":{}', '"old_record":{}'];
  return `{${[...members, `"errors":${JSON.stringify([error])}`].join(",")}}`;
}

function headOf({ type, relation, committedAt }: Change): string[] {
  const head = { schema: relation.schema, table: relation.table, type, commit_timestamp: committedAt };
  return Object.entries(head).map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
}

function grouped<K, T>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}
