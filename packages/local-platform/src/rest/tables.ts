import type { Caller } from "../gateway/caller.ts";
import { ANSWER_SETTINGS, answerWith, explain, pageOf, plannedRows } from "./answer.ts";
import type { Draft } from "./answer.ts";
import type { Catalog, Table } from "./catalog.ts";
import type { Row, Statement } from "./database.ts";
import { checkedInSql, NotInSchema, refusalOf, refuse } from "./errors.ts";
import { chooseFormat } from "./media-types.ts";
import type { Format } from "./media-types.ts";
import { readPayload } from "./payload.ts";
import type { Payload } from "./payload.ts";
import { appliedPreferences, readPreferences, refuseUnknown } from "./preferences.ts";
import type { Preferences } from "./preferences.ts";
import { readQuery } from "./query-string.ts";
import type { Query } from "./query-string.ts";
import { ALL, contentRange, isLimited, topLevelRange } from "./ranges.ts";
import type { Range } from "./ranges.ts";
import { columnsNeeded, planRead } from "./read-plan.ts";
import type { ReadPlan } from "./read-plan.ts";
import { bodySql, countSql, readSql, Values } from "./read-sql.ts";
import { requestSettings } from "./request-settings.ts";
import type { Served } from "./rest.ts";
import { planned, statementOf } from "./schema.ts";
import { mostSimilar } from "./similar.ts";
import { deleteSql, INSERTED, insertSql, locationSql, newRows, updateSql } from "./write-sql.ts";

/** What a request says, read but not yet looked up in the schema. */
interface TableRequest {
  request: Request;
  name: string;
  query: Query;
  /** Of the outermost rows. */
  range: Range;
  preferences: Preferences;
}

/** Answers /rest/v1/<table or view> as PostgREST v14 does. */
export async function answerTable(
  request: Request,
  name: string,
  caller: Caller,
  served: Served,
): Promise<Response> {
  const query = readQuery(new URL(request.url).search, false);
  const { headers, method } = request;
  const limits = query.ranges.find(({ path }) => path.length === 0)?.range ?? ALL;
  const range = topLevelRange(method === "GET" ? headers.get("range") : null, limits);
  const asked = { request, name, query, range, preferences: readPreferences(headers.get("prefer")) };
  if (method === "GET" || method === "HEAD") return await read(asked, caller, served);
  return await write(WRITES[method]!, asked, caller, served);
}

function tableNamed(catalog: Catalog, name: string): Table {
  const table = catalog.tables.get(name);
  if (table !== undefined) return table;
  const meant = mostSimilar(name, catalog.tables.keys(), 0.75);
  throw new NotInSchema(404, "PGRST205", `Could not find the table 'public.${name}' in the schema cache`, {
    hint: meant && `Perhaps you meant the table 'public.${meant}'`,
  });
}

async function read(asked: TableRequest, caller: Caller, served: Served): Promise<Response> {
  const { request, name, query, range, preferences } = asked;
  const { database, schema, maxRows } = served;
  const { plan, format, settings, version } = await planned(schema, (known) => ({
    version: known.version,
    plan: planRead(tableNamed(known.catalog, name).name, query, known.catalog, {
      filtersOutermost: true,
      maxRows,
      range,
    }),
    format: chooseFormat(request.headers.get("accept")),
    settings: requestSettings(caller, request, `/${name}`, known.roleSettings, preferences.timezone),
  }));
  refuseUnknown(preferences);
  const isHead = request.method === "HEAD";
  const ask = (statement: Statement) => database.run(settings, statementOf(version, statement), true);
  const [row] = await ask(readStatement(plan, format, isHead, preferences, maxRows));
  const rows = Number(row!["rows"]);
  if (format.isSingular && rows !== 1) return refusalOf("singular", rows);
  const counting = new Values();
  const guess = async () =>
    plannedRows(await ask(explain({ text: countSql(plan, counting), values: counting.list })));
  const counted = row!["total"] === null ? undefined : Number(row!["total"]);
  let total = counted;
  if (preferences.count === "planned") total = await guess();
  if (preferences.count === "estimated" && counted! > maxRows) total = Math.max(counted!, await guess());
  const draft = pageOf({ format, range, rows, total, isHead }, row!["body"] ?? "");
  const { canonical } = query;
  return answerWith(
    {
      ...draft,
      headers: {
        ...draft.headers,
        "content-location": `/${encodeURIComponent(name)}${canonical === "" ? "" : `?${canonical}`}`,
        "preference-applied": appliedPreferences(preferences, {}),
      },
    },
    row!,
  );
}

function readStatement(
  plan: ReadPlan,
  format: Format,
  isHead: boolean,
  { count }: Preferences,
  maxRows: number,
): Statement {
  const values = new Values();
  const source = readSql(plan, values);
  const isCounted = count === "exact" || count === "estimated";
  // An estimate need not count further than to know that it is one.
  const upTo = count === "estimated" ? ` limit ${values.add(String(maxRows + 1))}` : "";
  const counted = isCounted ? `, pgrst_source_count as (${countSql(plan, values)}${upTo})` : "";
  const total = isCounted ? "(select count(*) from pgrst_source_count)::text" : "null";
  return {
    text: `with pgrst_source as (${source})${counted}
           select ${total} as total, count(_rows)::text as rows,
                  ${isHead ? "''" : bodySql(format, "many")} as body, ${ANSWER_SETTINGS}
             from (select * from pgrst_source) _rows`,
    values: values.list,
  };
}

type Write = "insert" | "upsert one" | "update" | "delete";

const WRITES: Readonly<Record<string, Write>> = {
  POST: "insert",
  PUT: "upsert one",
  PATCH: "update",
  DELETE: "delete",
};

async function write(kind: Write, asked: TableRequest, caller: Caller, served: Served): Promise<Response> {
  const { request, name, query, range, preferences } = asked;
  if (kind === "upsert one" && isLimited(range)) {
    return refuse(400, "PGRST114", "limit/offset querystring parameters are not allowed for PUT");
  }
  const given = kind === "upsert one" ? undefined : query.columns;
  const payload = kind === "delete" ? undefined : await readPayload(request, "table", given);
  const { statement, format, table, settings, version } = await planned(served.schema, (known) => ({
    version: known.version,
    ...planWrite(kind, asked, payload, known.catalog),
    settings: requestSettings(caller, request, `/${name}`, known.roleSettings, preferences.timezone),
  }));
  const [row] = await served.database.run(settings, statementOf(version, statement), false);
  return answerWith(writeAnswer(kind, asked, table, format, row!), row!);
}

function planWrite(kind: Write, asked: TableRequest, payload: Payload | undefined, catalog: Catalog) {
  const table = tableNamed(catalog, asked.name);
  const scope = { filtersOutermost: false, maxRows: undefined, range: ALL };
  const plan = planRead(asked.name, asked.query, catalog, scope);
  const writing = writeSql(kind, asked, table, plan, payload);
  refuseUnknown(asked.preferences);
  const format = chooseFormat(asked.request.headers.get("accept"));
  return { statement: writeStatement(kind, asked, table, plan, writing, format), format, table };
}

interface Writing {
  sql: string;
  values: Values;
}

function writeSql(
  kind: Write,
  { query, preferences }: TableRequest,
  table: Table,
  plan: ReadPlan,
  payload: Payload | undefined,
): Writing {
  const values = new Values();
  const isOutermost = ({ path }: { path: readonly string[] }) => path.length === 0;
  const filters = query.filters.filter(isOutermost).map(({ filter }) => filter);
  const conditions = [filters, query.conditions.map(({ condition }) => condition)].flat();
  const isSilent = preferences.return === undefined || preferences.return === "minimal";
  const returning = isSilent ? [] : columnsNeeded(plan, table.primaryKey);
  if (kind === "delete") return { sql: deleteSql(table, conditions, returning, values), values };
  const fillsDefaults = preferences.missing === "default" && kind !== "upsert one";
  if (payload?.kind !== "json") throw new Error("rows come as JSON");
  if (kind === "update") {
    const rows = newRows(table, payload, fillsDefaults);
    return { sql: updateSql(table, rows, conditions, returning, values), values };
  }
  if (kind === "upsert one") {
    checkPut(query, table);
    const rows = newRows(table, payload, false);
    const conflict = { resolution: "merge-duplicates" as const, columns: table.primaryKey };
    return { sql: insertSql(table, rows, conflict, conditions, returning, values), values };
  }
  const rows = newRows(table, payload, fillsDefaults);
  const { resolution } = preferences;
  const conflict = resolution && { resolution, columns: query.onConflict ?? table.primaryKey };
  return { sql: insertSql(table, rows, conflict, [], returning, values), values };
}

/** A PUT names its row by the whole primary key and nothing else. */
function checkPut({ conditions, filters, filterNames }: Query, { primaryKey }: Table): void {
  const isKey =
    primaryKey.length > 0 &&
    filterNames.size === primaryKey.length &&
    primaryKey.every((name) => filterNames.has(name));
  const areEqual = filters.every(
    ({ filter: { negated, operation } }) =>
      !negated &&
      operation.kind === "compare" &&
      operation.operator === "=" &&
      operation.quantifier === undefined,
  );
  if (isKey && areEqual && conditions.length === 0) return;
  refuse(405, "PGRST105", "Filters must include all and only primary key columns with 'eq' operators");
}

function writeStatement(
  kind: Write,
  { preferences }: TableRequest,
  table: Table,
  plan: ReadPlan,
  { sql, values }: Writing,
  format: Format,
): Statement {
  const isShown = preferences.return === "representation";
  const rows = isShown ? readSql(plan, values, { source: "pgrst_source" }) : "select * from pgrst_source";
  const isLocated = kind === "insert" && preferences.return === "headers-only";
  const location = isLocated ? locationSql(table.primaryKey, values) : "null";
  return {
    text: `with pgrst_source as (${sql})
           select count(_rows)::text as rows, ${location} as location, ${isShown ? bodySql(format, "many") : "''"} as body,
                  ${ANSWER_SETTINGS}, ${INSERTED} as inserted, ${checkSql(kind, preferences, format, values)} as checked
             from (${rows}) _rows`,
    values: values.list,
  };
}

/** What the number of written rows must be, so that they are not written otherwise. */
function checkSql(kind: Write, preferences: Preferences, format: Format, values: Values): string {
  const { handling, maxAffected } = preferences;
  const rows = "count(_rows)";
  if (kind === "upsert one") return checkedInSql("primary key", `${rows} = 1`, rows);
  if (format.isSingular) return checkedInSql("singular", `${rows} = 1`, rows);
  if (kind === "insert" || handling !== "strict" || maxAffected === undefined) return "null";
  return checkedInSql("max-affected", `${rows} <= ${values.add(String(maxAffected))}`, rows);
}

function writeAnswer(
  kind: Write,
  { name, query, preferences }: TableRequest,
  table: Table,
  format: Format,
  row: Row,
): Draft {
  const rows = Number(row["rows"]);
  const isShown = preferences.return === "representation";
  const total = preferences.count === "exact" || preferences.count === "estimated" ? rows : undefined;
  const inserted = row["inserted"] === null ? undefined : Number(row["inserted"]);
  const resolves = kind === "insert" && (table.primaryKey.length > 0 || query.onConflict !== undefined);
  const headers = {
    "content-range": CONTENT_RANGE[kind]?.(rows, total),
    "content-type": isShown ? format.contentType : undefined,
    location: locationOf(name, row["location"]),
    "preference-applied": appliedPreferences(preferences, {
      resolution: resolves,
      missing: kind === "insert" || kind === "update",
      return: true,
      maxAffected: kind === "update" || kind === "delete",
    }),
  };
  const body = isShown ? row["body"]! : null;
  if (kind === "insert") {
    const isKnown = preferences.resolution === "merge-duplicates" && inserted !== undefined && inserted <= 0;
    return { status: isKnown ? 200 : 201, headers, body };
  }
  if (!isShown) return { status: 204, headers, body };
  return { status: kind === "upsert one" && inserted! > 0 ? 201 : 200, headers, body };
}

const CONTENT_RANGE: Partial<Record<Write, (rows: number, total: number | undefined) => string>> = {
  insert: (_, total) => contentRange(1, 0, total),
  update: (rows, total) => contentRange(0, rows - 1, total),
  delete: (_, total) => contentRange(1, 0, total),
};

function locationOf(name: string, pairs: string | null | undefined): string | undefined {
  if (!pairs) return undefined;
  const list = JSON.parse(pairs) as [string, string][];
  const query = list.map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
  return `/${encodeURIComponent(name)}?${query}`;
}
