import { isToOne } from "./catalog.ts";
import type { Table } from "./catalog.ts";
import { refuse } from "./errors.ts";
import type { Format } from "./media-types.ts";
import type { Condition, Field, Filter, JsonStep, OrderTerm, SelectedField } from "./query-language.ts";
import { isLimited } from "./ranges.ts";
import type { Range } from "./ranges.ts";
import type { ReadPlan } from "./read-plan.ts";

/** The values of a statement. They go to Postgres as texts without a type, and it gives them the type of their place. */
export class Values {
  readonly list: unknown[] = [];

  /** Adds one and returns what stands for it in the statement. */
  add(value: unknown): string {
    return `$${this.list.push(value)}`;
  }
}

/** Quotes a name. What stands after a zero byte is dropped, which would end the statement's text otherwise. */
export function quote(identifier: string): string {
  return `"${identifier.split("\0", 1)[0]!.replaceAll('"', '""')}"`;
}

/** A table, view or function of schema public. */
export function qualified(name: string): string {
  return `"public".${quote(name)}`;
}

/** Where a query of a plan's rows stands. */
interface Place {
  /** What the outermost rows are read from, where it is not the table itself: the name of a `with` query. */
  source?: string | undefined;
  /** What the rows around embedded ones are called. */
  parent?: string | undefined;
}

/** The rows of a plan as a query. */
export function readSql(plan: ReadPlan, values: Values, place: Place = {}): string {
  const { embedded, fields, order, range, table } = plan;
  const here = qualifierOf(plan, place);
  const selected =
    fields.length === 0 && embedded.length === 0
      ? [`${here}.*`]
      : fields.map((field) => selectedSql(here, table, field, values));
  const columns = selected.concat(embedded.flatMap(embeddedColumns));
  const joins = embedded.map((child) => joinSql(child, here, values));
  const where = plan.conditions
    .map((one) => conditionSql(one, here, plan, values))
    .concat(joinConditions(plan, place));
  return [
    `select ${columns.join(", ")} ${fromSql(plan, place)}`,
    joins.join(" "),
    where.length > 0 ? `where ${where.join(" and ")}` : "",
    order.length > 0 ? `order by ${order.map((term) => orderSql(term, here, plan, values)).join(", ")}` : "",
    limitSql(range, values),
  ].join(" ");
}

/**
 * A query with as many rows as {@link readSql} would have without limits. Rows that only their embedded
 * ones keep are counted by whether there are any.
 */
export function countSql(plan: ReadPlan, values: Values, place: Place = {}): string {
  const here = qualifierOf(plan, place);
  const exists = (child: ReadPlan) => `exists (${countSql(child, values, { parent: here })})`;
  const where = plan.conditions
    .map((one) => conditionSql(one, here, plan, values, exists))
    .concat(joinConditions(plan, place))
    .concat(plan.embedded.filter(({ embedding }) => embedding!.isInner).map(exists));
  return `select 1 ${fromSql(plan, place)}${where.length > 0 ? ` where ${where.join(" and ")}` : ""}`;
}

/** The rows named `_rows` as one text in a format. */
export function bodySql(
  { body, isSingular, stripsNulls }: Format,
  rows: "many" | "one",
  value = "_rows",
): string {
  if (body === "csv") {
    return `(select coalesce(string_agg(key, ','), '') from (
               select json_object_keys(row_to_json(first_row)) as key from (select * from pgrst_source limit 1) first_row
             ) header) || E'\\n' || coalesce(string_agg(substring(_rows::text, 2, length(_rows::text) - 2), E'\\n'), '')`;
  }
  if (body === "geojson") {
    return `json_build_object('type', 'FeatureCollection', 'features', coalesce(json_agg(ST_AsGeoJSON(_rows)::json), '[]'))::text`;
  }
  const list = `json_agg(${value})`;
  const part = isSingular || rows === "one" ? `${list} -> 0` : list;
  const bare = stripsNulls ? `json_strip_nulls(${part})` : part;
  return `coalesce(${bare}, '${isSingular || rows === "one" ? "null" : "[]"}')::text`;
}

/** Conditions on a table that a write changes. */
export function whereSql(
  conditions: readonly Condition[],
  here: string,
  table: Table,
  values: Values,
): string {
  const terms = conditions.map((one) => conditionSql(one, here, { table, embedded: [] }, values));
  return terms.length > 0 ? ` where ${terms.join(" and ")}` : "";
}

function qualifierOf({ origin, embedding }: ReadPlan, { source }: Place): string {
  if (embedding !== undefined && embedding.relationship.junction === undefined)
    return quote(embedding.tableAlias);
  return source === undefined ? qualified(origin) : quote(origin);
}

function fromSql({ origin, embedding }: ReadPlan, { source }: Place): string {
  if (source !== undefined) return `from ${source} as ${quote(origin)}`;
  const junction = embedding?.relationship.junction;
  if (junction !== undefined) return `from ${qualified(origin)}, ${qualified(junction.table)}`;
  return embedding === undefined
    ? `from ${qualified(origin)}`
    : `from ${qualified(origin)} as ${quote(embedding.tableAlias)}`;
}

/** What makes embedded rows those of the row around them. */
function joinConditions({ origin, embedding }: ReadPlan, { parent }: Place): string[] {
  if (embedding === undefined) return [];
  const { columns, junction } = embedding.relationship;
  const equal = (a: string, columnOfA: string, b: string, columnOfB: string) =>
    `${a}.${quote(columnOfA)} = ${b}.${quote(columnOfB)}`;
  if (junction === undefined) {
    return columns.map(([own, foreign]) => equal(quote(embedding.tableAlias), foreign, parent!, own));
  }
  const between = qualified(junction.table);
  const near = junction.source.map(([own, through]) => equal(between, through, parent!, own));
  const far = junction.target.map(([own, through]) => equal(between, through, qualified(origin), own));
  return near.concat(far);
}

function joinSql(plan: ReadPlan, parent: string, values: Values): string {
  const { relationship, joinAlias, isInner } = plan.embedding!;
  const [alias, join] = [quote(joinAlias), isInner ? "inner join lateral" : "left join lateral"];
  const rows = readSql(plan, values, { parent });
  if (isToOne(relationship)) return `${join} (${rows}) as ${alias} on true`;
  const list = `select json_agg(${alias})::jsonb as ${alias} from (${rows}) as ${alias}`;
  return `${join} (${list}) as ${alias} on ${isInner ? `${alias} is not null` : "true"}`;
}

/** The columns that embedded rows add to the rows around them. */
function embeddedColumns(plan: ReadPlan): string[] {
  const { relationship, joinAlias, label, isSpread } = plan.embedding!;
  const alias = quote(joinAlias);
  if (isSpread) return spreadNames(plan).map((name) => `${alias}.${name === "*" ? "*" : quote(name)}`);
  if (isUnseen(plan)) return [];
  return isToOne(relationship)
    ? [`row_to_json(${alias}.*)::jsonb as ${quote(label)}`]
    : [`coalesce(${alias}.${alias}, '[]') as ${quote(label)}`];
}

function spreadNames({ fields, embedded }: ReadPlan): string[] {
  const own = fields.map((field) => labelOf(field) ?? field.field.name);
  const below = embedded.flatMap((child) => {
    const { isSpread, label } = child.embedding!;
    if (isSpread) return spreadNames(child);
    return isUnseen(child) ? [] : [label];
  });
  return own.concat(below);
}

/** `relation()` is there to filter by, and shows nothing. */
function isUnseen({ fields, embedded }: ReadPlan): boolean {
  return fields.length === 0 && embedded.every(isUnseen);
}

function selectedSql(
  here: string,
  table: Table | undefined,
  selected: SelectedField,
  values: Values,
): string {
  const value = fieldSql(here, table, selected.field, values);
  const label = labelOf(selected);
  const typed = selected.cast === undefined ? value : `cast(${value} as ${typeName(selected.cast)})`;
  return label === undefined ? typed : `${typed} as ${quote(label)}`;
}

/**
 * A type that a column is cast to. In quotes Postgres would not know `int` and `character varying`; so
 * it may be words and nothing else.
 */
function typeName(cast: string): string {
  const word = /^[\p{L}_][\p{L}\p{N}_]*( +[\p{L}_][\p{L}\p{N}_]*)*$/u;
  return word.test(cast) ? cast : refuse(400, "42704", `type "${cast}" does not exist`);
}

/** What a row's column is called that has an alias or lies inside a document. */
function labelOf({ field, alias }: SelectedField): string | undefined {
  if (alias !== undefined || field.path.length === 0) return alias;
  return field.path.findLast(({ isIndex }) => !isIndex)?.key ?? field.name;
}

function fieldSql(here: string, table: Table | undefined, { name, path }: Field, values: Values): string {
  if (name === "*" && path.length === 0) return `${here}.*`;
  const column = `${here}.${quote(name)}`;
  if (path.length === 0) return column;
  const type = table?.columns.get(name)?.type;
  const document = type === "json" || type === "jsonb" ? column : `to_jsonb(${column})`;
  return document + path.map((step) => stepSql(step, values)).join("");
}

function stepSql({ arrow, key, isIndex }: JsonStep, values: Values): string {
  return `${arrow}${values.add(key)}${isIndex ? "::int" : ""}`;
}

type Around = Pick<ReadPlan, "table" | "embedded">;

/** @param exists what to write for the presence of embedded rows, where they are not joined. */
function conditionSql(
  condition: Condition,
  here: string,
  around: Around,
  values: Values,
  exists?: (child: ReadPlan) => string,
): string {
  const not = condition.negated ? "not " : "";
  if (condition.kind === "junction") {
    const terms = condition.conditions.map((one) => conditionSql(one, here, around, values, exists));
    return `${not}(${terms.join(` ${condition.operator} `)})`;
  }
  const child = presenceOf(condition, around);
  if (child === undefined) return not + filterSql(condition, here, around.table, values);
  // `is null` of embedded rows means that there are none.
  if (exists !== undefined) return `${condition.negated ? "" : "not "}${exists(child)}`;
  return `${quote(child.embedding!.joinAlias)} is ${condition.negated ? "" : "not "}distinct from null`;
}

/** The embedded rows whose presence a filter asks for. */
function presenceOf({ field, operation }: Filter, { embedded }: Around): ReadPlan | undefined {
  if (field.path.length > 0 || operation.kind !== "is" || operation.value !== "null") return undefined;
  return embedded.find(({ embedding }) => embedding!.label === field.name);
}

function filterSql(
  { field, operation }: Filter,
  here: string,
  table: Table | undefined,
  values: Values,
): string {
  const column = fieldSql(here, table, field, values);
  switch (operation.kind) {
    case "compare": {
      const { operator, quantifier, value } = operation;
      const isPattern = operator === "like" || operator === "ilike";
      const given = values.add(isPattern ? value.replaceAll("*", "%") : value);
      return `${column} ${operator} ${quantifier === undefined ? given : `${quantifier}(${given})`}`;
    }
    case "in":
      return `${column} = any(${values.add(arrayOf(operation.values))})`;
    case "is":
      // One of five words; see query-language.ts.
      return `${column} is ${operation.value}`;
    case "distinct":
      return `${column} is distinct from ${values.add(operation.value)}`;
    case "search": {
      const { parser, language, value } = operation;
      const inLanguage = () => (language === undefined ? "" : `${values.add(language)}, `);
      const isVector = field.path.length === 0 && table?.columns.get(field.name)?.type === "tsvector";
      const vector = isVector ? column : `to_tsvector(${inLanguage()}${column})`;
      return `${vector} @@ ${parser}(${inLanguage()}${values.add(value)})`;
    }
  }
}

/** Texts as one text that Postgres reads as an array of whatever the column is. */
export function arrayOf(texts: readonly string[]): string {
  if (texts.length === 1 && texts[0] === "") return "{}";
  const escaped = texts.map((text) => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`);
  return `{${escaped.join(",")}}`;
}

function orderSql(
  { relation, field, direction, nulls }: OrderTerm,
  here: string,
  around: ReadPlan,
  values: Values,
): string {
  const child = around.embedded.find(({ embedding }) => embedding!.label === relation);
  const by =
    relation === undefined
      ? fieldSql(here, around.table, field, values)
      : fieldSql(quote(child!.embedding!.joinAlias), child!.table, field, values);
  return [by, direction, nulls].filter((part) => part !== undefined).join(" ");
}

function limitSql(range: Range, values: Values): string {
  if (!isLimited(range)) return "";
  const { first, last } = range;
  const limit = last === Infinity ? "all" : values.add(String(last - first + 1));
  return `limit ${limit} offset ${values.add(String(first))}`;
}
