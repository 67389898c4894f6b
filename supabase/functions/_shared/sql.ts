import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database } from "./database.types.ts";
import { Refusal } from "./problem.ts";
import { type ApiError, errorFrom, type TokenbookError } from "./token-error.ts";

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

/** The error as it is answered: a {@link Refusal}, or an Error for whatever should not have happened. */
export function refusalFrom(error: ApiError, status: number): Error {
  return refusalOf(errorFrom(error, status));
}

/** {@link refusalFrom} of what `withTokenHold` throws. */
export function refusalOf({ code, facts, cause }: TokenbookError): Error {
  if (code === "internal_error" && cause instanceof Error) return cause;
  return new Refusal(code, facts, cause === undefined ? {} : { cause });
}
