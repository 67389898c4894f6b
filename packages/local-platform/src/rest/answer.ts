import { hasBody } from "../gateway/http.ts";
import { areHeaders, isStatus, postgrestError } from "./errors.ts";
import type { Row, Statement } from "./database.ts";
import { contentRange, rangeStatus } from "./ranges.ts";
import type { Format } from "./media-types.ts";
import type { Range } from "./ranges.ts";

/** Columns that every statement has: what the database wants of the answer. They are read when all else is done. */
export const ANSWER_SETTINGS = `
  nullif(current_setting('response.status', true), '') as status,
  nullif(current_setting('response.headers', true), '') as headers`;

/** An answer as the API would send it if the database had no wishes. */
export interface Draft {
  status: number;
  headers: Record<string, string | undefined>;
  body: string | null;
}

/** Makes the answer, with the status and headers that `response.status` and `response.headers` ask for. */
export function answerWith({ status, headers, body }: Draft, row: Row): Response {
  const final = row["status"] === null ? status : Number(row["status"]);
  if (!isStatus(final)) {
    return postgrestError(500, "PGRST112", "response.status guc must be a valid status code");
  }
  const all = row["headers"] === null ? [] : headersOf(row["headers"]!);
  if (all === undefined) {
    return postgrestError(
      500,
      "PGRST111",
      "response.headers guc must be a JSON array composed of objects with a single key and a string value",
    );
  }
  const wanted = all.map(([name]) => name.toLowerCase());
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !wanted.includes(name)) all.push([name, value]);
  }
  return new Response(hasBody(final) ? body : null, { status: final, headers: all });
}

function headersOf(text: string): [name: string, value: string][] | undefined {
  try {
    const pairs = (JSON.parse(text) as Record<string, unknown>[]).map((one) => Object.entries(one));
    const isRight = pairs.every((list) => list.length === 1 && typeof list[0]![1] === "string");
    const all = pairs.flat() as [string, string][];
    return isRight && areHeaders(all) ? all : undefined;
  } catch {
    return undefined;
  }
}

/** What a request shows of a result. */
export interface Page {
  format: Format;
  range: Range;
  rows: number;
  /** As many there would be without limits, where somebody asked. */
  total: number | undefined;
  isHead: boolean;
}

/** Rows that were read: 200, 206 when there are more, 416 when they begin behind the last. */
export function pageOf({ format, range, rows, total, isHead }: Page, body: string): Draft {
  const { first } = range;
  const status = rangeStatus(first, rows, total);
  const headers = {
    "content-range": contentRange(first, first + rows - 1, total),
    "content-type": format.contentType,
  };
  if (isHead) return { status, headers, body: null };
  if (status !== 416) return { status, headers, body };
  const details = `An offset of ${first} was requested, but there are only ${total} rows.`;
  const error = {
    code: "PGRST103",
    details,
    hint: null,
    message: "Requested range not satisfiable",
  };
  return { status, headers, body: JSON.stringify(error) };
}

/** The planner's guess of how many rows a query has. */
export function explain({ text, values }: Statement): Statement {
  return { text: `explain (format json) ${text}`, values };
}

/** Reads the answer to {@link explain}. */
export function plannedRows(rows: readonly Row[]): number {
  const [plan] = JSON.parse(rows[0]!["QUERY PLAN"]!) as { Plan: { "Plan Rows": number } }[];
  return plan!.Plan["Plan Rows"];
}
