import { refuse } from "./errors.ts";
import { readJunction, readNames, readOperation, readOrder, readPath, readSelect } from "./query-language.ts";
import type { Condition, Filter, OrderTerm, Path, SelectItem } from "./query-language.ts";
import { rangeOf } from "./ranges.ts";
import type { Range } from "./ranges.ts";

/** What a query string says. `path` leads to an embedded relation; an empty one means the outermost rows. */
export interface Query {
  select: readonly SelectItem[];
  filters: readonly { path: Path; filter: Filter }[];
  /** Of `and`, `or` and their negations. */
  conditions: readonly { path: Path; condition: Condition }[];
  order: readonly { path: Path; terms: readonly OrderTerm[] }[];
  ranges: readonly { path: Path; range: Range }[];
  columns: readonly string[] | undefined;
  onConflict: readonly string[] | undefined;
  /** Parameters of a GET that have no operator: a function's arguments. */
  arguments: readonly (readonly [name: string, value: string])[];
  /** Names of all parameters that filter. */
  filterNames: ReadonlySet<string>;
  /** The string with its parameters in alphabetical order. */
  canonical: string;
}

const EVERYTHING: readonly SelectItem[] = [
  { kind: "field", field: { name: "*", path: [] }, isAggregate: false },
];

const EMPTY: Query = {
  select: EVERYTHING,
  filters: [],
  conditions: [],
  order: [],
  ranges: [],
  columns: undefined,
  onConflict: undefined,
  arguments: [],
  filterNames: new Set(),
  canonical: "",
};

/**
 * Reads a query string.
 *
 * @param search as URLs have it, with its question mark.
 * @param hasArguments whether parameters without an operator are a function's arguments.
 * @throws Refusal 400 `PGRST100`
 */
export function readQuery(search: string, hasArguments: boolean): Query {
  if (search.length <= 1) return EMPTY;
  // The gateway's key may be in the query; it is nobody's filter.
  const all = pairs(search.slice(1)).filter(([name]) => name !== "apikey");
  const given = all.filter((pair): pair is [string, string] => pair[1] !== undefined);
  const last = (name: string) => name.slice(name.lastIndexOf(".") + 1);
  const ending = (words: readonly string[]) => given.filter(([name]) => words.includes(last(name)));
  const value = (name: string) => all.find(([one]) => one === name)?.[1];

  const order = ending(["order"]).map(([name, text]) => ({
    path: readPath(name).path,
    terms: readOrder(text),
  }));
  const conditions = ending(["and", "or"]).map(([name, text]) => readJunction(name, text));
  const columns = value("columns");
  const names = columns === undefined ? undefined : readNames("columns", columns);
  const select = value("select");
  const items = select === undefined ? EVERYTHING : readSelect(select);
  const filters: Query["filters"][number][] = [];
  const args: [string, string][] = [];
  const filtering = given.filter(([name]) => !SHAPING.has(name) && !SHAPING_BELOW.has(last(name)));
  for (const [name, text] of filtering) {
    const { path, field } = readPath(name);
    const operation = readOperation(text, hasArguments);
    if (operation === undefined) args.push([field.name, text]);
    else filters.push({ path, filter: { kind: "filter", field, ...operation } });
  }
  const onConflict = value("on_conflict");
  return {
    select: items,
    filters,
    conditions,
    order,
    ranges: readRanges(ending(["limit", "offset"])),
    columns: names && [...new Set(names)].toSorted(),
    onConflict: onConflict === undefined ? undefined : readNames("on_conflict", onConflict),
    arguments: args,
    filterNames: new Set(filtering.map(([name]) => name)),
    canonical: all
      .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([name, text]) => `${encoded(name)}=${encoded(text ?? "")}`)
      .join("&"),
  };
}

/** Parameters that shape a result and are therefore no filters. */
const SHAPING = new Set(["select", "columns", "on_conflict"]);

/** The same, and they may stand after the name of an embedded relation. */
const SHAPING_BELOW = new Set(["order", "limit", "offset", "and", "or"]);

function readRanges(given: readonly (readonly [string, string])[]): Query["ranges"] {
  const levels = new Map<string, { limit?: string; offset?: string }>();
  for (const [name, text] of given) {
    const at = name.lastIndexOf(".") + 1;
    levels.set(name.slice(0, at), { ...levels.get(name.slice(0, at)), [name.slice(at)]: text });
  }
  return Array.from(levels, ([level, { limit, offset }]) => ({
    path: readPath(`${level}limit`).path,
    range: rangeOf(limit, offset),
  }));
}

/** The fields of a form. */
export function formPairs(body: string): [name: string, value: string][] {
  return pairs(body).map(([name, text]) => [name, text ?? ""]);
}

function pairs(text: string): [name: string, value: string | undefined][] {
  return text
    .split(/[&;]/)
    .filter((part) => part !== "")
    .map((part) => {
      const at = part.indexOf("=");
      return at === -1
        ? [decoded(part), undefined]
        : [decoded(part.slice(0, at)), decoded(part.slice(at + 1))];
    });
}

/** A percent sign that begins no code stands for itself. */
function decoded(text: string): string {
  const spaced = text.replaceAll("+", " ");
  if (!spaced.includes("%")) return spaced;
  const bytes: number[] = [];
  const source = Buffer.from(spaced);
  for (let i = 0; i < source.length; i++) {
    const code = /^%[0-9a-fA-F]{2}/.exec(source.toString("latin1", i, i + 3));
    bytes.push(code === null ? source[i]! : Number.parseInt(code[0].slice(1), 16));
    if (code !== null) i += 2;
  }
  try {
    return UTF8.decode(Uint8Array.from(bytes));
  } catch {
    return refuse(400, "PGRST100", "The query string is not valid UTF-8", {
      details: `failed to decode ${text}`,
    });
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
