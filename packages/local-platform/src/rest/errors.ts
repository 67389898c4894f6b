import { json } from "../gateway/http.ts";

/** What Postgres says when it refuses. `pg` and `postgres` errors both have this shape. */
export interface DatabaseError {
  code: string;
  message: string;
  detail?: string | undefined;
  hint?: string | undefined;
}

/** Tells an error that carries an SQLSTATE from everything else. */
export function isDatabaseError(error: unknown): error is DatabaseError {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && (error as Error).message !== undefined;
}

/** A PostgREST error body with its HTTP status. */
export function postgrestError(
  status: number,
  code: string,
  message: string,
  rest: { details?: string | null; hint?: string | null; headers?: Record<string, string> } = {},
): Response {
  const { details = null, hint = null, headers } = rest;
  return json({ code, details, hint, message }, status, headers);
}

/**
 * The HTTP status that PostgREST v14 documents for an SQLSTATE
 * (https://docs.postgrest.org/en/v14/references/errors.html#http-status-codes).
 *
 * @param anon whether the request ran as `anon`, who is asked to sign in (401) where others are refused (403).
 */
export function httpStatus(error: DatabaseError, anon: boolean): number {
  const { code, message } = error;
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
  if (error.code === "PGRST") return answerRaisedResponse(error);
  const { code, message, detail, hint } = error;
  const status = httpStatus(error, anon);
  const headers: Record<string, string> = status === 401 ? { "www-authenticate": "Bearer" } : {};
  return postgrestError(status, code, message, { details: detail ?? null, hint: hint ?? null, headers });
}

function answerRaisedResponse(error: DatabaseError): Response {
  try {
    const body = JSON.parse(error.message) as Record<string, unknown>;
    const { status, headers } = JSON.parse(error.detail ?? "") as Record<string, unknown>;
    const { code, message, details = null, hint = null } = body;
    if (typeof code === "string" && typeof message === "string" && typeof status === "number") {
      return json({ code, details, hint, message }, status, headers as Record<string, string>);
    }
  } catch {
    // Answered below: PostgREST says the same for every way of getting it wrong.
  }
  return postgrestError(500, "PGRST121", `Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error`, {
    hint: "MESSAGE must be a JSON object with 'code' and 'message', DETAIL one with 'status' and 'headers'.",
  });
}

/**
 * What a caller is told when Postgres can't be reached.
 *
 * @param busy it is there, and every connection was in use for too long.
 */
export function answerUnreachable(busy: boolean): Response {
  return busy
    ? postgrestError(504, "PGRST003", "Timed out acquiring connection from connection pool.")
    : postgrestError(503, "PGRST000", "Database connection error. Retrying the connection.");
}
