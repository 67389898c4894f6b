import { withBoundedBody } from "./body.ts";
import { corsFor } from "./cors.ts";
import { problem, Refusal } from "./problem.ts";

/**
 * What surrounds every function: the preflight, the method, the size of the body, and every error
 * as a problem, `withSupabase`'s own included.
 *
 * @param method the only one that the function answers
 * @param handle from `withSupabase` with `cors: "disabled"`; refuses by throwing a {@link Refusal}
 */
export function endpoint(
  method: "GET" | "POST",
  handle: (request: Request) => Promise<Response>,
): (request: Request) => Promise<Response> {
  const cors = corsFor(method);

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
      if (request.method !== method) {
        return problem(new Refusal("method_not_allowed"), requestId, {
          allow: `${method}, OPTIONS`,
        });
      }
      const response = await handle(await withBoundedBody(request));
      throwGateErrors(response);
      return response;
    } catch (error) {
      if (error instanceof Refusal) return problem(error, requestId);
      console.error(`${requestId} ${error instanceof Error ? error.stack : String(error)}`);
      return problem(new Refusal("internal_error"), requestId);
    }
  }
}

/**
 * `withSupabase` answers by itself when it lets nobody through. Its body helps whoever builds
 * against the function, with names of keys and of settings; a caller gets a problem like any other.
 */
function throwGateErrors(response: Response): void {
  const code = response.headers.get("x-supabase-server-error");
  if (code === null) return;
  if (response.status === 401) throw new Refusal("not_authenticated");
  throw new Error(`withSupabase: ${code}`);
}
