import { withSupabase, type WithSupabaseConfig } from "@supabase/server";
import { checkClaims } from "./claims.ts";
import type { Context, Database } from "./database.ts";
import { clientOptions } from "./sql.ts";

/** The kinds of callers that are let in, as `withSupabase` calls them. */
type Auth = NonNullable<WithSupabaseConfig["auth"]>;

/** A signed-in user, or the server with the secret key. */
export const userOrServer: Auth = ["user", "secret"];

/**
 * Lets in who may call a function, and refuses everybody else: {@link endpoint} makes a problem of it.
 *
 * `withSupabase` verifies the signature; what a token must say besides is ours to ask.
 */
export function gate(
  auth: Auth,
  handler: (request: Request, context: Context) => Promise<Response>,
): (request: Request) => Promise<Response> {
  return withSupabase<Database>(
    {
      auth,
      cors: "disabled", // endpoint() does it, for the errors too
      errors: { detailed: false },
      supabaseOptions: clientOptions(),
    },
    async (request, context) => {
      if (context.jwtClaims) checkClaims(context.jwtClaims);
      return await handler(request, context);
    },
  );
}
