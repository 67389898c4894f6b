import { timingSafeEqual } from "node:crypto";
import { json, Refusal } from "./http.ts";
import type { Keys } from "./keys.ts";
import { postgrestError } from "../rest/errors.ts";
import { TokenError } from "./claims.ts";
import type { Claims, Tokens } from "./tokens.ts";

/** On whose behalf a request runs. */
export interface Caller {
  /** The database role. */
  role: string;
  /** What `request.jwt.claims` will hold. */
  claims: Claims;
}

/** The key of a request, in the header or, as links need it, in the query. */
function apiKeyOf(request: Request): string | null {
  return request.headers.get("apikey") ?? new URL(request.url).searchParams.get("apikey");
}

/**
 * The token of a request, which may be empty. An API key in its place, as supabase-js sends before
 * sign-in, is none.
 */
export function bearerOf(request: Request): string | undefined {
  const authorization = request.headers.get("authorization") ?? "";
  if (!/^bearer(\s|$)/i.test(authorization)) return undefined;
  const token = authorization.slice("bearer".length).trim();
  return token.startsWith("sb_") ? undefined : token;
}

/**
 * What the gateway asks of every request: a key of this project.
 *
 * @returns the role that the key alone gives.
 * @throws Refusal 401
 */
export function requireApiKey(request: Request, keys: Keys): "anon" | "service_role" {
  const key = apiKeyOf(request);
  if (!key) {
    throw new Refusal(
      json(
        {
          message: "No API key found in request",
          hint: "No `apikey` request header or url param was found.",
        },
        401,
      ),
    );
  }
  if (same(key, keys.publishableKey)) return "anon";
  if (!same(key, keys.secretKey)) {
    throw new Refusal(json({ message: "Invalid API key", hint: "Double check your Supabase `apikey`" }, 401));
  }
  if (/^\s*Mozilla\/5\.0/i.test(request.headers.get("user-agent") ?? "")) {
    throw new Refusal(json({ message: "Forbidden use of secret API key in browser" }, 401));
  }
  return "service_role";
}

/**
 * The caller: the token's user and role, where there is a token, else the role that the API key stands for.
 *
 * @param keyRole what {@link requireApiKey} said.
 * @throws Refusal 401, in PostgREST's words, for a bad token.
 */
export async function identify(
  request: Request,
  keyRole: "anon" | "service_role",
  tokens: Tokens,
): Promise<Caller> {
  const token = bearerOf(request);
  if (token === undefined) return { role: keyRole, claims: { role: keyRole } };
  try {
    const claims = await tokens.verify(token);
    return { role: claims.role, claims };
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    throw new Refusal(refuseToken(error));
  }
}

function refuseToken({ code, message, details }: TokenError): Response {
  const headers = { "www-authenticate": `Bearer error="invalid_token", error_description="${message}"` };
  return postgrestError(401, code, message, { details, headers });
}

function same(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
