import type { Context, Database } from "./database.ts";
import { errors, isSlug } from "./errors.ts";
import { wireName } from "./names.ts";
import { type Facts, Refusal } from "./problem.ts";

/** A client of the data API: the caller's own, or the server's. */
export type Client = Context["supabase"];

type Functions = Database["public"]["Functions"];

/** How often a call that lost a race is made again. */
const retries = 3;

/** Longest pause before the first retry, in milliseconds; doubled before each further one. */
const pauseMs = 40;

/**
 * Calls one SQL function with the rights of the client: SQL decides what that one may do.
 *
 * A serialization failure or a deadlock has changed nothing: the same call, with the same key, is
 * made again, after pauses of random length so that the two that met do not meet again.
 *
 * @typeParam Result the shape that the function's comment in SQL describes
 * @throws {Refusal} what SQL refused, or busy; an Error for whatever should not have happened
 */
export async function callSql<Result>(
  client: Client,
  name: keyof Functions & string,
  args: Record<string, unknown>,
): Promise<Result> {
  for (let attempt = 0; ; attempt++) {
    const { data, error, status } = await client.rpc(name, args as never);
    if (error === null) return data as Result;
    if (error.code !== "40001" && error.code !== "40P01") throw refusalFrom(error, status);
    if (attempt === retries) throw new Refusal("busy");
    await new Promise((go) => setTimeout(go, Math.random() * pauseMs * 2 ** attempt));
  }
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

/** The error as it is answered: a {@link Refusal}, or an Error for whatever should not have happened. */
export function refusalFrom(error: ApiError, status: number): Error {
  if (isSlug(error.message) && errors[error.message].sqlstate === error.code) {
    return new Refusal(error.message, factsFrom(error.details));
  }
  if (status === 401) return new Refusal("not_authenticated");
  if (error.code === "42501") return new Refusal("forbidden");
  if (unfitValues.includes(error.code)) return new Refusal("invalid_request");
  if (status === 503) return new Refusal("busy");
  // never the details: they may hold what users wrote
  return new Error(`SQL ${error.code}, HTTP ${status}: ${error.message}`);
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
    ...(facts.rule !== undefined && { rule: facts.rule }),
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
