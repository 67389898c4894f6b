/*
 * What a channel asks for with `postgres_changes`: `{ event, schema, table, filter, select }`, and the language of
 * `filter`: `column=operator.value`, several with commas between them, all of which must hold.
 */
import type { ChangeType } from "./replication.ts";

/** One condition; `value` is as SQL takes it (that of `in` is an array's text). */
export interface Condition {
  column: string;
  operator: Operator;
  value: string;
  negated: boolean;
}

/** What one entry of `config.postgres_changes` asks for. `*`: any. */
export interface Asked {
  event: ChangeType | "*";
  schema: string;
  table: string;
  conditions: Condition[];
  /** Only these columns and the key; undefined: all. */
  select: string[] | undefined;
}

/** An entry that can't be read, in the words of hosted Realtime. */
export class AskedWrongly extends Error {
  override name = "AskedWrongly";
}

/** SQL of each operator, between two values of the column's type. */
export const OPERATORS = {
  eq: "=",
  neq: "<>",
  lt: "<",
  lte: "<=",
  gt: ">",
  gte: ">=",
  in: "= any",
  like: "like",
  ilike: "ilike",
  match: "~",
  imatch: "~*",
  isdistinct: "is distinct from",
  is: "is",
} as const;

export type Operator = keyof typeof OPERATORS;

/** As many values may `in` have, as on hosted projects. */
export const MOST_VALUES = 100;

/** @throws AskedWrongly */
export function readAsked(params: Record<string, unknown>): Asked {
  const { event, schema, table, filter, select } = params;
  if (schema === undefined && table === undefined) throw nothingAsked(params);
  for (const value of [schema, table, filter]) {
    if (value !== undefined && typeof value !== "string") throw nothingAsked(params);
  }
  const asked: Asked = {
    event: eventIn(event),
    schema: (schema as string | undefined) ?? "public",
    table: (table as string | undefined) ?? "*",
    conditions: readConditions((filter as string | undefined) ?? ""),
    select: selectIn(select),
  };
  if (asked.select !== undefined && (asked.schema === "*" || asked.table === "*")) {
    throw new AskedWrongly(
      "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name.",
    );
  }
  return asked;
}

function nothingAsked(params: Record<string, unknown>): AskedWrongly {
  return new AskedWrongly(
    "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: " +
      JSON.stringify(params).slice(0, 500),
  );
}

function eventIn(event: unknown): Asked["event"] {
  const upper = typeof event === "string" ? event.toUpperCase() : "";
  return upper === "INSERT" || upper === "UPDATE" || upper === "DELETE" ? upper : "*";
}

function selectIn(select: unknown): string[] | undefined {
  if (typeof select === "string") {
    throw new AskedWrongly(
      'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]',
    );
  }
  const names = Array.isArray(select) ? select.filter((name) => typeof name === "string") : [];
  return names.length === 0 ? undefined : names;
}

function readConditions(filter: string): Condition[] {
  const text = filter.trim();
  return text === "" ? [] : segmentsOf(text).map(readCondition);
}

/** Split at commas that are in no parentheses and no quotes; quotes begin after `.`, `(` and `,`. */
function segmentsOf(text: string): string[] {
  const segments: string[] = [];
  let [begin, depth, isQuoted] = [0, 0, false];
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (isQuoted) {
      if (character === "\\") i++;
      else if (character === '"') isQuoted = false;
    } else if (character === '"') isQuoted = i > begin && ".(,".includes(text[i - 1]!);
    else if (character === "(") depth++;
    else if (character === ")") depth = Math.max(0, depth - 1);
    else if (character === "," && depth === 0) {
      segments.push(text.slice(begin, i));
      begin = i + 1;
    }
  }
  return [...segments, text.slice(begin)];
}

function readCondition(segment: string): Condition {
  const text = segment.trim();
  if (text === "") throw wrongFilter("filter must not contain empty segments (check for extra commas)");
  const [column, rest] = splitOnce(text, "=");
  if (rest === undefined) throw wrongFilter(JSON.stringify([column]));
  const negated = rest.startsWith("not.");
  const [operator, value] = splitOnce(negated ? rest.slice("not.".length) : rest, ".");
  if (value === undefined) throw wrongFilter(JSON.stringify([operator]));
  if (!Object.hasOwn(OPERATORS, operator)) throw wrongFilter(`["${operator}", "${value}"]`);
  if (operator !== "in") return { column, operator: operator as Operator, value: unquoted(value), negated };
  if (!/^\([^]*\)$/.test(value)) throw wrongFilter("`in` filter value must be wrapped by parentheses");
  return { column, operator, value: `{${value.slice(1, -1)}}`, negated };
}

function wrongFilter(why: string): AskedWrongly {
  return new AskedWrongly(`Error parsing \`filter\` params: ${why}`);
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** What is whole within quotes, without them. */
function unquoted(value: string): string {
  const [, inner] = /^"((?:[^"\\]|\\[^])*)"$/.exec(value) ?? [];
  return inner === undefined ? value : inner.replaceAll(/\\([^])/g, "$1");
}
