import type { Caller } from "../gateway/caller.ts";
import { ANSWER_SETTINGS, answerWith, pageOf } from "./answer.ts";
import type { Draft } from "./answer.ts";
import type { Row, Statement } from "./database.ts";
import { checkedInSql, refuse } from "./errors.ts";
import { callSql, chooseFunction } from "./functions.ts";
import type { ApiFunction, Arguments } from "./functions.ts";
import { chooseFormat } from "./media-types.ts";
import type { Format } from "./media-types.ts";
import { readPayload } from "./payload.ts";
import { appliedPreferences, readPreferences, refuseUnknown } from "./preferences.ts";
import type { Preferences } from "./preferences.ts";
import { readQuery } from "./query-string.ts";
import type { Query } from "./query-string.ts";
import { ALL, topLevelRange } from "./ranges.ts";
import type { Range } from "./ranges.ts";
import { columnsFiltered, columnsNeeded, planRead } from "./read-plan.ts";
import type { ReadPlan } from "./read-plan.ts";
import { bodySql, countSql, quote, readSql, Values } from "./read-sql.ts";
import { requestSettings } from "./request-settings.ts";
import type { Served } from "./rest.ts";
import { planned, statementOf } from "./schema.ts";
import type { ApiSchema } from "./schema.ts";

/**
 * Answers /rest/v1/rpc/<name> as PostgREST v14 does: named arguments, defaults, overloads, and the
 * query language of tables on what the function returns. Postgres itself decodes and encodes.
 */
export async function answerRpc(
  request: Request,
  name: string,
  caller: Caller,
  served: Served,
): Promise<Response> {
  const { headers, method } = request;
  const isRead = method === "GET" || method === "HEAD";
  const query = readQuery(new URL(request.url).search, isRead);
  const limits = query.ranges.find(({ path }) => path.length === 0)?.range ?? ALL;
  const range = topLevelRange(method === "GET" ? headers.get("range") : null, limits);
  const args = isRead ? argumentsOf(query) : await readPayload(request, "function", query.columns);
  const preferences = readPreferences(headers.get("prefer"));

  const { fn, plan, format, settings, version } = await planned(served.schema, (known) => ({
    version: known.version,
    ...planCall(name, query, args, !isRead, range, served.maxRows, known),
    format: chooseFormat(headers.get("accept")),
    settings: requestSettings(caller, request, `/rpc/${name}`, known.roleSettings, preferences.timezone),
  }));
  refuseUnknown(preferences);
  if (preferences.handling === "strict" && preferences.maxAffected !== undefined && !fn.returnsSet) {
    return refuse(
      400,
      "PGRST128",
      "Function must return SETOF or TABLE when max-affected preference is used with handling=strict",
    );
  }
  const isHead = method === "HEAD";
  const statement = statementOf(version, callStatement(fn, args, plan, format, isHead, preferences));
  const [row] = await served.database.run(settings, statement, isRead || !fn.volatile);
  return answerWith(callAnswer(fn, format, range, isHead, preferences, row ?? NO_ROW), row ?? NO_ROW);
}

/** A HEAD whose filters have left nothing. */
const NO_ROW: Row = { total: "0", rows: "0", body: "", status: null, headers: null };

function planCall(
  name: string,
  query: Query,
  args: Arguments,
  posted: boolean,
  range: Range,
  maxRows: number,
  { functions, catalog }: ApiSchema,
): { fn: ApiFunction; plan: ReadPlan } {
  const fn = chooseFunction(functions, name, args, posted);
  // Rows of a table can have others embedded, whichever function returns them.
  const origin = fn.returnsRow && fn.returnsRowOf !== "record" ? fn.returnsRowOf : name;
  return { fn, plan: planRead(origin, query, catalog, { filtersOutermost: true, maxRows, range }) };
}

/** The parameters of a GET that are no filters. */
function argumentsOf({ arguments: pairs }: Query): Arguments {
  return { kind: "form", columns: [...new Set(pairs.map(([name]) => name))].toSorted(), pairs };
}

function callStatement(
  fn: ApiFunction,
  args: Arguments,
  plan: ReadPlan,
  format: Format,
  isHead: boolean,
  preferences: Preferences,
): Statement {
  const values = new Values();
  const { count } = preferences;
  const isCounted = count === "exact" || count === "estimated";
  const number = fn.returnsSet ? "count(_rows)" : "1";
  const value = fn.returnsRow ? "_rows" : "_rows.pgrst_scalar";
  const body = isHead ? "''" : bodySql(format, fn.returnsSet ? "many" : "one", value);
  const columns = `${number}::text as rows, ${body} as body, ${ANSWER_SETTINGS}`;
  // Most calls want what the function returns and nothing else. Postgres is quicker without the rest.
  if (
    !isCounted &&
    format.body === "json" &&
    !format.isSingular &&
    preferences.maxAffected === undefined &&
    isWhole(plan)
  ) {
    const whole = fn.returnsSet
      ? `(select ${returnedColumns(fn, plan)} from ${callSql(fn, args, "pgrst_call", values)} limit ${values.add(String(plan.range.last + 1))}) _rows`
      : callSql(fn, args, "_rows", values);
    return { text: `select null as total, ${columns} from ${whole}`, values: values.list };
  }
  const call = callSql(fn, args, "pgrst_call", values);
  const source = `select ${returnedColumns(fn, plan)} from ${call}`;
  const rows = readSql(plan, values, { source: "pgrst_source" });
  const counted = isCounted
    ? `, pgrst_source_count as (${countSql(plan, values, { source: "pgrst_source" })})`
    : "";
  const total = isCounted ? "(select count(*) from pgrst_source_count)::text" : "null";
  return {
    text: `with pgrst_source as (${source})${counted}
           select ${total} as total, ${columns}, ${checkSql(number, preferences, format, values)} as checked
             from (${rows}) _rows`,
    values: values.list,
  };
}

/** Whether nothing is chosen, ordered, left out or added. */
function isWhole({ fields, conditions, order, embedded, range }: ReadPlan): boolean {
  const isEverything = fields.length === 1 && fields[0]!.field.name === "*";
  return (
    isEverything &&
    range.first === 0 &&
    range.last >= 0 &&
    !conditions.length &&
    !order.length &&
    !embedded.length
  );
}

/** What a plan reads of a function's result, and what it filters by. */
function returnedColumns(fn: ApiFunction, plan: ReadPlan): string {
  if (!fn.returnsRow) return "pgrst_call.pgrst_scalar";
  const needed = columnsNeeded(plan, []);
  if (needed.length === 0 || needed.includes("*")) return "pgrst_call.*";
  const all = new Set([needed, columnsFiltered(plan)].flat());
  return [...all]
    .toSorted()
    .map((column) => `pgrst_call.${quote(column)}`)
    .join(", ");
}

/** What the number of rows must be, so that what the function has written does not stay otherwise. */
function checkSql(
  number: string,
  { handling, maxAffected }: Preferences,
  format: Format,
  values: Values,
): string {
  if (number === "1") return "null";
  if (format.isSingular) return checkedInSql("singular", `${number} = 1`, number);
  if (handling !== "strict" || maxAffected === undefined) return "null";
  return checkedInSql("max-affected", `${number} <= ${values.add(String(maxAffected))}`, number);
}

function callAnswer(
  fn: ApiFunction,
  format: Format,
  range: Range,
  isHead: boolean,
  preferences: Preferences,
  row: Row,
): Draft {
  const total = row["total"] === null ? undefined : Number(row["total"]);
  const page = pageOf({ format, range, rows: Number(row["rows"]), total, isHead }, row["body"]!);
  const applied = { "preference-applied": appliedPreferences(preferences, { maxAffected: true }) };
  const headers = { ...page.headers, ...applied };
  if (!fn.returnsVoid) return { ...page, headers };
  return { status: 204, headers: { ...headers, "content-type": undefined }, body: null };
}
