import { withBoundedBody } from "./body.ts";
import { corsFor } from "./cors.ts";
import { problem, Refusal } from "./problem.ts";

/** Answers a request, or refuses it by throwing a {@link Refusal}. */
export type Handler = (request: Request) => Promise<Response>;

/** The most bytes that a body may have, unless a function says otherwise. */
const usualBytes = 64 * 1024;

/**
 * What surrounds every function: the preflight, the method, the size of the body, and every error
 * as a problem, `withSupabase`'s own included.
 *
 * @param handlers one for each method that the function answers, from {@link gate}
 * @param maxBytes the most that a body may have
 */
export function endpoint(
  handlers: { readonly [method in "GET" | "POST"]?: Handler },
  maxBytes = usualBytes,
): Handler {
  const byMethod = new Map(Object.entries(handlers));
  const allow = [...byMethod.keys(), "OPTIONS"].join(", ");
  const cors = corsFor(allow);

  return async (request) => {
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: cors });
    const response = await answer(request);
    for (const [name, value] of Object.entries(cors)) response.headers.set(name, value);
    response.headers.set("cache-control", "no-store"); // balances are personal, and old at once
    return response;
  };

  async function answer(request: Request): Promise<Response> {
    const requestId = crypto.randomUUID();
    try {
      const handle = byMethod.get(request.method);
      if (handle === undefined) return problem(new Refusal("method_not_allowed"), requestId, { allow });
      const response = await handle(await withBoundedBody(request, maxBytes));
      throwGateErrors(response);
      return response;
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal("internal_error", {}, { cause: error });
      if (refusal.cause !== undefined) console.error(`${requestId} ${inWords(refusal.cause)}`);
      return problem(refusal, requestId);
    }
  }
}

/**
 * `withSupabase` answers by itself when it lets nobody through. Its body is for the developer who
 * sets the function up, with names of keys and of settings; a caller gets a problem like any other.
 */
function throwGateErrors(response: Response): void {
  const code = response.headers.get("x-supabase-server-error");
  if (code === null) return;
  if (response.status === 401) throw new Refusal("not_authenticated");
  const cause = new Error(`withSupabase: ${code}`);
  throw code === "JWKS_FETCH_FAILED" ? new Refusal("unavailable", {}, { cause }) : cause;
}

function inWords(cause: unknown): string {
  return cause instanceof Error ? String(cause.stack) : String(cause);
}
