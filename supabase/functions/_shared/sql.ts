import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database } from "./database.types.ts";
import { errors, isSlug } from "./errors.ts";
import { wireName, wireRule } from "./names.ts";
import { type Facts, Refusal } from "./problem.ts";

/** A client of the data API: the caller's own, or the server's. */
export type Client = SupabaseClient<Database>;

type Functions = Database["public"]["Functions"];

/**
 * How our clients ask the data API. What fails is answered at once, and the caller told when to ask again: a
 * client that asks again by itself, with pauses of seconds, only makes everyone wait longer for the same answer.
 *
 * @param patienceMs how long one question may take, its answer included
 */
export const clientOptions = (patienceMs = 20_000) => ({
  db: { retry: false },
  global: {
    fetch: (input: RequestInfo | URL, init: RequestInit = {}) => {
      const timeout = AbortSignal.timeout(patienceMs);
      return fetch(input, {
        ...init,
        signal: init.signal ? AbortSignal.any([init.signal, timeout]) : timeout,
      });
    },
  },
});

/**
 * Calls one SQL function with the rights of the client: SQL decides what that one may do.
 *
 * A transaction that lost a race is not sent again here: the data API itself runs it again.
 *
 * @typeParam Result the shape that the function's comment in SQL describes
 * @throws {Refusal} what SQL refused, busy or unavailable; an Error for whatever should not have happened
 */
export async function callSql<Result>(
  client: Client,
  name: keyof Functions & string,
  args: Record<string, unknown>,
): Promise<Result> {
  const { data, error, status } = await client.rpc(name, args as never);
  if (error !== null) throw refusalFrom(error, status);
  return data as Result;
}

/**
 * The rows of a read.
 *
 * @throws {Refusal} as {@link callSql} does
 */
export function rowsOf<Row>(answer: { data: Row[] | null; error: ApiError | null; status: number }): Row[] {
  if (answer.error !== null) throw refusalFrom(answer.error, answer.status);
  return answer.data ?? [];
}

/** What the data API says about an error. */
export interface ApiError {
  /** SQLSTATE, or a PGRST code of the API itself. */
  code: string;
  /** For our refusals the slug. */
  message: string;
  /** For our refusals a JSON object of facts, or null. */
  details: string | null;
}

/** SQLSTATEs of values that do not fit their type: a caller's fault that no field check has caught. */
const unfitValues = ["22P02", "22003", "22P05", "22007", "22008", "22009", "22021"];

/** SQLSTATEs of work that was given up for others' sake: a lost race, a deadlock, a lock not got. */
const givenUp = ["40001", "40P01", "55P03"];

/**
 * SQLSTATEs, and codes of the data API, of a database that could not do it now: cancelled or shut down, not
 * reached, out of something, or its schema not loaded yet.
 */
const notNow = /^(57014|57P0\d|08...|53...|PGRST00\d)$/;

/** HTTP statuses of whatever stands before the database, 52x among them; 0 is no answer at all. */
const noAnswer = /^(0|502|503|504|52\d)$/;

/** The error as it is answered: a {@link Refusal}, or an Error for whatever should not have happened. */
export function refusalFrom(error: ApiError, status: number): Error {
  if (isSlug(error.message) && errors[error.message].sqlstate === error.code) {
    return new Refusal(error.message, factsFrom(error.details));
  }
  if (status === 401) return new Refusal("not_authenticated");
  if (error.code === "42501") return new Refusal("forbidden");
  if (unfitValues.includes(error.code)) return new Refusal("invalid_request");
  // never the details: they may hold what users wrote
  const cause = new Error(`SQL ${error.code}, HTTP ${status}: ${error.message}`);
  if (givenUp.includes(error.code)) return new Refusal("busy", {}, { cause });
  if (notNow.test(error.code) || noAnswer.test(String(status)))
    return new Refusal("unavailable", {}, { cause });
  return cause;
}

/** The facts in an exception's DETAIL, fields under the names that they have in requests. */
function factsFrom(details: string | null): Facts {
  const facts: Facts & {
    status?: string;
    due_at?: string;
    entry_type?: string;
    opened_at?: string;
    transaction_id?: number;
  } = JSON.parse(details || "{}");
  return {
    ...(facts.field !== undefined && { field: wireName(facts.field) }),
    ...(facts.rule !== undefined && { rule: wireRule(facts.rule) }),
    ...(facts.issuer !== undefined && { issuer: facts.issuer }),
    ...(facts.limit !== undefined && { limit: facts.limit }),
    ...(facts.required !== undefined && { required: facts.required }),
    ...(facts.available !== undefined && { available: facts.available }),
    ...(facts.status !== undefined && { paymentStatus: facts.status }),
    ...(facts.due_at !== undefined && { dueAt: facts.due_at }),
    ...(facts.opened_at !== undefined && { openedAt: facts.opened_at }),
    ...(facts.transaction_id !== undefined && { transactionId: facts.transaction_id }),
    ...(facts.entry_type !== undefined && { entryType: facts.entry_type }),
    ...(facts.differs !== undefined && { differs: facts.differs.map(wireName) }),
  };
}
