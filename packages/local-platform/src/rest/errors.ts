import { json, Refusal } from "../gateway/http.ts";

/** What Postgres says when it refuses. `pg` and `postgres` errors both have this shape. */
export interface DatabaseError {
  code: string;
  message: string;
  detail?: string | undefined;
  hint?: string | undefined;
}

/** Tells an error that carries an SQLSTATE from everything else: EPIPE, of a connection that broke, looks like one. */
export function isDatabaseError(error: unknown): error is DatabaseError {
  const { code, syscall } = (error ?? {}) as { code?: unknown; syscall?: unknown };
  return (
    typeof code === "string" &&
    /^[0-9A-Z]{5}$/.test(code) &&
    syscall === undefined &&
    (error as Error).message !== undefined
  );
}

/** What an error says besides its code and message. */
export interface ErrorRest {
  /** A text, or the list of what an ambiguous name may mean. */
  details?: unknown;
  hint?: string | null | undefined;
  headers?: Record<string, string>;
}

/**
 * A PostgREST error with its HTTP status. The headers name it too: there it can be read where a body can't,
 * in the answer to a HEAD.
 */
export function postgrestError(
  status: number,
  code: string,
  message: string,
  { details = null, hint = null, headers }: ErrorRest = {},
): Response {
  return json({ code, details, hint, message }, status, {
    "proxy-status": `PostgREST; error=${code}`,
    ...(status === 401 && { "www-authenticate": "Bearer" }),
    ...headers,
  });
}

/** Ends a request with a PostgREST error. */
export function refuse(status: number, code: string, message: string, rest: ErrorRest = {}): never {
  throw new Refusal(postgrestError(status, code, message, rest));
}

/** A name that the schema, as far as it is known, does not have. It may have been made a moment ago. */
export class NotInSchema extends Refusal {
  override name = "NotInSchema";

  constructor(status: number, code: string, message: string, rest: ErrorRest = {}) {
    super(postgrestError(status, code, message, rest));
  }
}

/**
 * The HTTP status that PostgREST v14 documents for an SQLSTATE
 * (https://docs.postgrest.org/en/v14/references/errors.html#http-status-codes).
 *
 * @param anon whether the request ran as `anon`, which is asked to sign in (401) where other roles are refused (403).
 */
export function httpStatus(error: DatabaseError, anon: boolean): number {
  const { code, message } = error;
  if (code === "42883" && message.startsWith("function xmlagg(")) return 406;
  if (code.startsWith("PT")) {
    const status = Number(code.slice(2));
    return status >= 200 && status <= 599 ? status : 500;
  }
  const one = STATUS_OF_CODE[code];
  if (one !== undefined) return one;
  if (code === "42501") return anon ? 401 : 403;
  if (code === "21000") return message.endsWith("requires a WHERE clause") ? 400 : 500;
  if (code === "22023") return /^role ".*" does not exist$/.test(message) ? 401 : 400;
  return STATUS_OF_CLASS[code.slice(0, 2)] ?? 400;
}

const STATUS_OF_CODE: Record<string, number> = {
  "23503": 409,
  "23505": 409,
  "25006": 405,
  "42883": 404,
  "42P01": 404,
  "42P17": 500,
  "53400": 500,
  "57P01": 503,
  P0001: 400,
};

const STATUS_OF_CLASS: Record<string, number> = {
  "08": 503,
  "09": 500,
  "0L": 403,
  "0P": 403,
  "25": 500,
  "28": 403,
  "2D": 500,
  "38": 500,
  "39": 500,
  "3B": 500,
  "40": 500,
  "53": 503,
  "54": 500,
  "55": 500,
  "57": 500,
  "58": 500,
  F0: 500,
  HV: 500,
  P0: 500,
  XX: 500,
};

/** Answers a refusal of Postgres as PostgREST does, `raise sqlstate 'PGRST'` with its own status and headers included. */
export function answerDatabaseError(error: DatabaseError, anon: boolean): Response {
  const { code, message, detail, hint } = error;
  if (code === "PGRST") return answerRaisedResponse(message, detail);
  const failed = code === "22P02" ? failedCheck(message) : undefined;
  if (failed !== undefined) return failed;
  const status = httpStatus(error, anon);
  return postgrestError(status, code, message, { details: detail ?? null, hint: hint ?? null });
}

function answerRaisedResponse(message: string, detail: string | undefined): Response {
  const body = parsed(message);
  if (typeof body?.["code"] !== "string" || typeof body["message"] !== "string") {
    return badlyRaised(
      `Invalid JSON value for MESSAGE: '${message}'`,
      "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'.",
    );
  }
  const hint =
    "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'.";
  if (detail === undefined) return badlyRaised("DETAIL is missing in the RAISE statement", hint);
  const outside = parsed(detail);
  const status = outside?.["status"];
  if (!isStatus(status) || !areHeaders(outside?.["headers"])) {
    return badlyRaised(`Invalid JSON value for DETAIL: '${detail}'`, hint);
  }
  const rest = { details: body["details"], hint: body["hint"] as string | null | undefined };
  const headers = outside!["headers"] as Record<string, string>;
  return postgrestError(status, body["code"], body["message"], { ...rest, headers });
}

/** Whether it is a status that a function may ask for. */
export function isStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 599;
}

/** Whether HTTP can carry them: a name with a blank or a value with a line break it can't. */
export function areHeaders(headers: unknown): headers is Record<string, string> {
  if (typeof headers !== "object" || headers === null) return false;
  try {
    void new Headers(headers as Record<string, string>);
    return true;
  } catch {
    return false;
  }
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function badlyRaised(details: string, hint: string): Response {
  const message = `Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error`;
  return postgrestError(500, "PGRST121", message, { details, hint });
}

/** What a statement that wrote something asks of its result. */
export type Check = "singular" | "max-affected" | "primary key";

/**
 * SQL that fails, with the number in its message, unless `condition` holds.
 *
 * What a statement has written must not stay when its result is refused. Postgres has no expression
 * that raises an error; a text that is no number, turned into one, does, and costs no second round trip.
 */
export function checkedInSql(check: Check, condition: string, number: string): string {
  return `case when not (${condition}) then ('refused: ${check} ' || ${number})::bigint end`;
}

function failedCheck(message: string): Response | undefined {
  const found = /^invalid input syntax for type bigint: "refused: (.+) (\d+)"$/.exec(message);
  return found === null ? undefined : refusalOf(found[1] as Check, Number(found[2]));
}

/** The error of a result with so many rows. */
export function refusalOf(check: Check, rows: number): Response {
  if (check === "singular") {
    return postgrestError(406, "PGRST116", "Cannot coerce the result to a single JSON object", {
      details: `The result contains ${rows} rows`,
    });
  }
  if (check === "max-affected") {
    return postgrestError(400, "PGRST124", "Query result exceeds max-affected preference constraint", {
      details: `The query affects ${rows} rows`,
    });
  }
  return postgrestError(400, "PGRST115", "Payload values do not match URL in primary key column(s)");
}

/**
 * What a caller is told when Postgres can't be reached.
 *
 * @param busy it is there, and every connection was in use for too long.
 */
export function answerUnreachable(busy: boolean): Response {
  return busy
    ? postgrestError(504, "PGRST003", "Timed out acquiring connection from connection pool.")
    : postgrestError(503, "PGRST000", "Database connection error.");
}
