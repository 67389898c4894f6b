import { isToOne } from "./catalog.ts";
import type { Catalog, Relationship, Table } from "./catalog.ts";
import { NotInSchema, refuse } from "./errors.ts";
import type {
  Condition,
  OrderTerm,
  Path,
  SelectedField,
  SelectedRelation,
  SelectItem,
} from "./query-language.ts";
import type { Query } from "./query-string.ts";
import { ALL, atMost } from "./ranges.ts";
import type { Range } from "./ranges.ts";
import { mostSimilar } from "./similar.ts";

/** Rows to read, and the rows to embed in them. */
export interface ReadPlan {
  /** The table or view whose rows they are, or the function's name where its rows are no table's. */
  origin: string;
  /** What is known of its columns. */
  table: Table | undefined;
  fields: readonly SelectedField[];
  conditions: Condition[];
  order: readonly OrderTerm[];
  range: Range;
  /** Of embedded rows: how they hang on the rows around them. */
  embedding: Embedding | undefined;
  embedded: ReadPlan[];
}

export interface Embedding {
  relationship: Relationship;
  /** What stands in `select`. */
  relation: string;
  /** Their key in the rows around them. */
  label: string;
  isInner: boolean;
  isSpread: boolean;
  /** Names in the statement: of the table, and of what is joined. */
  tableAlias: string;
  joinAlias: string;
}

/** Which parts of a query string concern the outermost rows. */
export interface ReadScope {
  /** Those that a write changes or deletes have been chosen already. */
  filtersOutermost: boolean;
  /** `max_rows`; not for rows that a write returns. */
  maxRows: number | undefined;
  /** Of the outermost rows, with the header `Range` in it. */
  range: Range;
}

/**
 * Plans the reading of a table's, view's or function's rows.
 *
 * @throws Refusal for relations that aren't there, or are there more than once.
 */
export function planRead(origin: string, query: Query, catalog: Catalog, scope: ReadScope): ReadPlan {
  const draft = draftOf(origin, undefined, query.select);
  const isHere = ({ path }: { path: Path }) => scope.filtersOutermost || path.length > 0;
  for (const { path, filter } of query.filters.filter(isHere)) find(draft, path).conditions.push(filter);
  for (const { path, terms } of query.order) find(draft, path).order = terms;
  if (scope.maxRows !== undefined) {
    for (const { path, range } of query.ranges) find(draft, path).range = range;
    draft.range = scope.range;
  }
  for (const { path, condition } of query.conditions.filter(isHere))
    find(draft, path).conditions.push(condition);
  const plan = resolve(draft, origin, undefined, 0, catalog, scope.maxRows);
  refuseAggregates(plan);
  return plan;
}

/** A plan whose relations haven't been looked up. */
interface Draft {
  asked: SelectedRelation | undefined;
  name: string;
  fields: SelectedField[];
  conditions: Condition[];
  order: readonly OrderTerm[];
  range: Range;
  embedded: Draft[];
}

function draftOf(name: string, asked: SelectedRelation | undefined, items: readonly SelectItem[]): Draft {
  return {
    asked,
    name,
    fields: items.filter((item) => item.kind === "field"),
    conditions: [],
    order: [],
    range: ALL,
    embedded: items
      .filter((item) => item.kind === "relation")
      .map((item) => draftOf(item.relation, item, item.items)),
  };
}

function find(draft: Draft, path: Path): Draft {
  let found = draft;
  for (const step of path) {
    const next = found.embedded.find(({ name, asked }) => name === step || asked?.alias === step);
    found = next ?? notEmbedded(step);
  }
  return found;
}

function resolve(
  draft: Draft,
  origin: string,
  embedding: Embedding | undefined,
  depth: number,
  catalog: Catalog,
  maxRows: number | undefined,
): ReadPlan {
  const embedded = draft.embedded.map((child) => {
    const { relation, alias, hint, join, isSpread } = child.asked!;
    const relationship = findRelationship(catalog, origin, relation, hint);
    if (isSpread && !isToOne(relationship)) {
      return refuse(400, "PGRST127", "Feature not implemented", {
        details: "Spreading a one-to-many or many-to-many relationship is not served by the local API.",
      });
    }
    const { foreignTable } = relationship;
    const label = alias ?? relation;
    const below: Embedding = {
      relationship,
      relation,
      label,
      isInner: join === "inner",
      isSpread,
      tableAlias: `${foreignTable}_${depth + 1}`,
      joinAlias: `${origin}_${label}_${depth + 1}`,
    };
    return resolve(child, foreignTable, below, depth + 1, catalog, maxRows);
  });
  for (const { relation } of draft.order) {
    if (relation !== undefined) checkOrder(origin, relation, embedded);
  }
  return {
    origin,
    table: catalog.tables.get(origin),
    fields: draft.fields,
    conditions: draft.conditions,
    order: draft.order,
    range: maxRows === undefined ? draft.range : atMost(maxRows, draft.range),
    embedding,
    embedded,
  };
}

/** Rows can be ordered by a field of an embedded row if there is one at most. */
function checkOrder(origin: string, relation: string, embedded: readonly ReadPlan[]): void {
  const found = embedded.find((child) => child.embedding!.label === relation) ?? notEmbedded(relation);
  if (isToOne(found.embedding!.relationship)) return;
  refuse(400, "PGRST118", `A related order on '${relation}' is not possible`, {
    details: `'${origin}' and '${relation}' do not form a many-to-one or one-to-one relationship`,
  });
}

function notEmbedded(name: string): never {
  return refuse(400, "PGRST108", `'${name}' is not an embedded resource in this request`, {
    hint: `Verify that '${name}' is included in the 'select' query parameter.`,
  });
}

/** Hosted projects have aggregates switched off. */
function refuseAggregates({ fields, embedded }: ReadPlan): void {
  if (fields.some(({ isAggregate }) => isAggregate)) {
    refuse(400, "PGRST123", "Use of aggregate functions is not allowed");
  }
  embedded.forEach(refuseAggregates);
}

/** The columns that reading a plan needs of rows that a statement has written or returned. `*` stands alone. */
export function columnsNeeded({ fields, embedded }: ReadPlan, others: readonly string[]): string[] {
  const names = fields.map(({ field }) => field.name);
  if (names.includes("*")) return ["*"];
  const joining = embedded.flatMap((child) => {
    const { columns, junction } = child.embedding!.relationship;
    return (junction?.source ?? columns).map(([own]) => own);
  });
  return [...new Set([names, joining, others].flat())].toSorted();
}

/** The columns that the filters of a plan and of its embedded rows name. */
export function columnsFiltered({ conditions, embedded }: ReadPlan): string[] {
  const namesIn = (condition: Condition): string[] =>
    condition.kind === "filter" ? [condition.field.name] : condition.conditions.flatMap(namesIn);
  return conditions.flatMap(namesIn).concat(embedded.flatMap(columnsFiltered));
}

function findRelationship(
  catalog: Catalog,
  origin: string,
  target: string,
  hint: string | undefined,
): Relationship {
  const all = catalog.relationships.get(origin) ?? [];
  const found = all.filter((one) =>
    hint === undefined ? isMeant(one, target) : isHinted(one, target, hint),
  );
  const [only, another] = found;
  if (only === undefined) throw noRelationship(catalog, origin, target, hint);
  if (another !== undefined) throw severalRelationships(origin, target, found);
  return only;
}

/** Without a hint, a relationship is named by its table, its foreign key or its only column. */
function isMeant(one: Relationship, target: string): boolean {
  const { table, foreignTable, kind } = one;
  if (table === foreignTable) {
    return kind === "one-to-many"
      ? target === foreignTable
      : kind === "many-to-one" && ownColumn(one) === target;
  }
  return target === foreignTable || constraintOf(one) === target || ownColumn(one) === target;
}

/** With one, by its table and, as the hint says, its foreign key, a column of either side, or the junction. */
function isHinted(one: Relationship, target: string, hint: string): boolean {
  const { table, foreignTable, kind, junction } = one;
  if (target !== foreignTable) return false;
  if (table === foreignTable) return kind === "one-to-many" && foreignColumn(one) === hint;
  return (
    constraintOf(one) === hint ||
    ownColumn(one) === hint ||
    foreignColumn(one) === hint ||
    junction?.table === hint
  );
}

function constraintOf({ constraint, junction }: Relationship): string | undefined {
  return junction === undefined ? constraint : undefined;
}

function ownColumn({ columns }: Relationship): string | undefined {
  return columns.length === 1 ? columns[0]![0] : undefined;
}

function foreignColumn({ columns }: Relationship): string | undefined {
  return columns.length === 1 ? columns[0]![1] : undefined;
}

function noRelationship(
  { relationships }: Catalog,
  origin: string,
  target: string,
  hint: string | undefined,
): NotInSchema {
  const known = relationships.get(origin);
  const [wrong, candidates] =
    known === undefined
      ? [origin, [...relationships.keys()]]
      : [target, known.map(({ foreignTable }) => foreignTable)];
  const meant = candidates.includes(wrong) ? undefined : mostSimilar(wrong, candidates, 0.33);
  const using = hint === undefined ? "" : ` using the hint '${hint}'`;
  return new NotInSchema(
    400,
    "PGRST200",
    `Could not find a relationship between '${origin}' and '${target}' in the schema cache`,
    {
      details: `Searched for a foreign key relationship between '${origin}' and '${target}'${using} in the schema 'public', but no matches were found.`,
      hint: meant && `Perhaps you meant '${meant}' instead of '${wrong}'.`,
    },
  );
}

function severalRelationships(origin: string, target: string, found: readonly Relationship[]): NotInSchema {
  const names = found.map(
    ({ foreignTable, constraint, junction }) => `'${foreignTable}!${junction?.table ?? constraint}'`,
  );
  return new NotInSchema(
    300,
    "PGRST201",
    `Could not embed because more than one relationship was found for '${origin}' and '${target}'`,
    {
      details: found.map((one) => ({
        cardinality: one.kind,
        embedding: `${one.table} with ${one.foreignTable}`,
        relationship: relationshipInWords(one),
      })),
      hint: `Try changing '${target}' to one of the following: ${names.join(", ")}. Find the desired relationship in the 'details' key.`,
    },
  );
}

function relationshipInWords({ table, foreignTable, constraint, columns, junction }: Relationship): string {
  const list = (names: readonly string[]) => `(${names.join(", ")})`;
  const own = (pairs: Relationship["columns"]) => list(pairs.map(([column]) => column));
  const foreign = (pairs: Relationship["columns"]) => list(pairs.map(([, column]) => column));
  if (junction === undefined) {
    return `${constraint} using ${table}${own(columns)} and ${foreignTable}${foreign(columns)}`;
  }
  const [near, far] = junction.constraints;
  return `${junction.table} using ${near}${foreign(junction.source)} and ${far}${foreign(junction.target)}`;
}
