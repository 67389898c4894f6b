import { randomBytes } from "node:crypto";
import { SignJWT } from "jose";
import pg from "pg";
import { answerAdmin } from "./admin.ts";
import { authError } from "./error.ts";
import { bearerOf, requireApiKey } from "../gateway/caller.ts";
import { isTooDeep, json, readBody } from "../gateway/http.ts";
import type { Keys } from "../gateway/keys.ts";
import { askLite, createAuthApp, openLite } from "./lite.ts";
import { TokenError } from "../gateway/claims.ts";
import { claimsOf } from "../gateway/tokens.ts";
import type { Claims, Tokens } from "../gateway/tokens.ts";

/** Answers /auth/v1. */
export interface Auth {
  /** @param path below /auth/v1, such as `/token`. */
  answer(request: Request, path: string): Promise<Response>;
  close(): Promise<void>;
}

export interface AuthOptions {
  /** Connection string of `supabase_auth_admin`. */
  url: string;
  keys: Keys;
  tokens: Tokens;
  /** `iss` of the tokens: `<api>/auth/v1`. */
  issuer: () => string;
  jwtExpirySeconds: number;
}

/** The auth server has the clock that it signs by. */
const NO_SKEW = 0;

/** What is passed on to @supabase/lite. Mails, magic links, OAuth and factors have no place to go here. */
const SERVED_BY_LITE = new Set([
  "POST /signup",
  "POST /token",
  "POST /logout",
  "GET /user",
  "PUT /user",
  "GET /settings",
  "GET /health",
]);

/**
 * Serves sign-up, password sign-in, refresh, sign-out and the own user through @supabase/lite, the
 * admin's part and the public keys itself.
 *
 * lite's tokens are HS256, have no `kid` and lack most claims: nothing outside could verify them. They
 * are taken off its answers and signed anew with the project's key, and put back for lite on the way in.
 */
export function openAuth({ url, keys, tokens, issuer, jwtExpirySeconds }: AuthOptions): Auth {
  const tokenSecret = randomBytes(32).toString("hex");
  const liteKey = new TextEncoder().encode(tokenSecret);
  const connection = openLite(url, 10);
  const { publishableKey, secretKey } = keys;
  const app = createAuthApp(connection, { publishableKey, secretKey, tokenSecret, jwtExpirySeconds });
  const pool = new pg.Pool({ connectionString: url, max: 5, allowExitOnIdle: true });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));

  async function throughLite(request: Request, body: string): Promise<Response> {
    const headers = new Headers(request.headers);
    headers.delete("content-length");
    const token = bearerOf(request);
    if (token) {
      const claims = await tokens.verify(token, NO_SKEW);
      const inner = await new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(liteKey);
      headers.set("authorization", `Bearer ${inner}`);
    }
    const { method } = request;
    const init = body === "" ? { method, headers } : { method, headers, body };
    const response = await askLite(app, new Request(request.url, init));
    return await withOurToken(response);
  }

  async function withOurToken(response: Response): Promise<Response> {
    if (!response.ok || !response.headers.get("content-type")?.includes("json")) return response;
    const session = (await response.json()) as Partial<Session>;
    if (session.access_token === undefined) return json(session, response.status);
    session.access_token = await tokens.sign(claimsFor(session as Session, issuer()));
    return json(session, response.status);
  }

  return {
    async answer(request, path) {
      if (path === "/.well-known/jwks.json") {
        return json(keys.jwks, 200, { "cache-control": "public, max-age=600" });
      }
      const keyRole = requireApiKey(request, keys);
      try {
        const body = request.method === "GET" ? "" : await readBody(request);
        if (isTooDeep(body)) return authError(400, "bad_json", "Could not parse request body as JSON");
        if (path.startsWith("/admin/")) {
          const token = bearerOf(request);
          const role = token === undefined ? keyRole : (await tokens.verify(token, NO_SKEW)).role;
          if (role !== "service_role") return authError(403, "not_admin", "User not allowed");
          return await answerAdmin(request, path, body, pool);
        }
        if (SERVED_BY_LITE.has(`${request.method} ${path}`)) return await throughLite(request, body);
        return authError(404, "not_found", `${request.method} ${path} is not served by the local API`);
      } catch (error) {
        if (!(error instanceof TokenError)) throw error;
        const why = error.code === "PGRST303" ? "token has invalid claims" : "token signature is invalid";
        return authError(403, "bad_jwt", `invalid JWT: unable to parse or verify signature, ${why}`);
      }
    },
    async close() {
      await Promise.all([connection.close(), pool.end()]);
    },
  };
}

interface Session {
  access_token: string;
  user: {
    phone?: string;
    is_anonymous?: boolean;
    app_metadata: Record<string, unknown>;
    user_metadata: Record<string, unknown>;
  };
}

/** The claims that the hosted auth server puts into an access token. */
function claimsFor({ access_token, user }: Session, issuer: string): Claims {
  const claims = claimsOf(access_token);
  return {
    ...claims,
    iss: issuer,
    phone: user.phone ?? "",
    app_metadata: user.app_metadata,
    user_metadata: user.user_metadata,
    aal: "aal1",
    amr: [{ method: "password", timestamp: claims.iat }],
    is_anonymous: user.is_anonymous ?? false,
  };
}
