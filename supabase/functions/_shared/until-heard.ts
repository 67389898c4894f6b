/**
 * How the books are asked: again, with growing pauses, while it may be a matter of time. The caller's request must
 * be safe to repeat: it has the same key each time, or asks for what can be done only once.
 *
 * No import from a registry and nothing that only Deno has: it runs wherever `fetch` does.
 */
import { type ApiError, errorFrom, errorOfArgs, TokenbookError, unsendable } from "./token-error.ts";

/** What the data API answers, or an edge function. `status` is 0 when nobody has answered. */
export interface Answer {
  data: unknown;
  error: ApiError | TokenbookError | null;
  status: number;
  /** When it says itself how long to wait. */
  retryAfterMs?: number | undefined;
}

/** A question that is being asked, as supabase-js has it; what can be told to stop is told so. */
export type Question = PromiseLike<Answer> & { abortSignal?(signal: AbortSignal): PromiseLike<Answer> };

/** How often and how patiently a question is repeated. */
export interface Patience {
  /** How often it is asked at most. Default 4; a settlement of a hold 8, and a reservation at most 4. */
  attempts?: number;
  /** The first pause is up to that long, each further one up to twice as long, none over 5 s. Default 100. */
  pauseMs?: number;
  /** After that long a question counts as not answered. Default 10 000. */
  attemptMs?: number;
}

export const usualPatience: Required<Patience> = { attempts: 4, pauseMs: 100, attemptMs: 10_000 };

/** No pause is longer. */
const longestPauseMs = 5_000;

/**
 * Asks until there is an answer, or a refusal.
 *
 * @param signal of the client that waits; when it aborts, the request is stopped and nothing is asked any more
 * @throws {TokenbookError} the last that was said; the signal's reason; what asking itself threw, a TypeError
 */
export async function untilHeard<Result>(
  ask: (signal: AbortSignal) => PromiseLike<Answer>,
  { attempts, pauseMs, attemptMs }: Required<Patience>,
  signal?: AbortSignal,
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    const { data, error: said, status, retryAfterMs = 0 } = await once(ask, attemptMs, signal);
    if (said === null) return data as Result;
    const error = said instanceof TokenbookError ? said : errorFrom(said, status);
    const isLast = attempt >= attempts || retryAfterMs > longestPauseMs;
    if (!isWorthRepeating(error) || isLast) throw error;
    const longest = Math.min(pauseMs * 2 ** (attempt - 1), longestPauseMs);
    await pause(Math.max(Math.random() * longest, retryAfterMs), signal); // those that met do not meet again
  }
}

/** A client that can be asked: supabase-js. */
interface Asked {
  rpc(name: never, args: never): unknown;
}

/**
 * Calls a function of the data API. What the API itself says of the arguments is said by their names.
 *
 * @throws TypeError when that is no client of supabase-js
 * @throws TokenbookError when an argument is a number or a moment that is none
 */
export function askedOf(
  client: Asked,
  name: string,
  args: Record<string, unknown>,
): (stop: AbortSignal) => PromiseLike<Answer> {
  if (typeof (client as Partial<Asked> | null)?.rpc !== "function") {
    throw new TypeError(
      "this takes a client of supabase-js, as createClient makes it, not that of tokenbook(…)",
    );
  }
  const refused = unsendable(args);
  if (refused !== undefined) throw refused;
  const rpc = client.rpc.bind(client) as (name: string, args: Record<string, unknown>) => Question;
  return (stop) =>
    stoppable(rpc(name, args), stop).then((answer) => {
      const error = answer.error === null ? undefined : errorOfArgs(answer.error, name, args);
      return error === undefined ? answer : { ...answer, error };
    });
}

/** Stops a question of supabase-js with the signal. */
export function stoppable(question: Question, signal: AbortSignal): PromiseLike<Answer> {
  return question.abortSignal?.(signal) ?? question;
}

/** Not answered, or by somebody who could not: what was refused is not asked again. */
export function isWorthRepeating({ retryable, status }: TokenbookError): boolean {
  return retryable && (status === 0 || status >= 500 || [408, 425, 429].includes(status));
}

async function once(
  ask: (signal: AbortSignal) => PromiseLike<Answer>,
  attemptMs: number,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const stopping = new AbortController();
  const onAbort = () => stopping.abort(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => stopping.abort(new Error(`no answer in ${attemptMs} ms`)), attemptMs);
  const stopped = new Promise<never>((_, fail) => {
    stopping.signal.addEventListener("abort", () => fail(stopping.signal.reason), { once: true });
  });
  stopped.catch(() => {});
  try {
    const asking = ask(stopping.signal); // what this throws itself is a fault of the caller's, and no answer
    return await Promise.race([asking, stopped]).catch((error: unknown) => {
      signal?.throwIfAborted();
      return { data: null, error: { code: "", message: String(error), details: null }, status: 0 };
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((go) => {
    const over = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", over);
      go();
    };
    const timer = setTimeout(over, ms);
    signal?.addEventListener("abort", over, { once: true });
  });
}
