import { randomUUID } from "node:crypto";
import { compactVerify, decodeJwt, importJWK, SignJWT } from "jose";
import type { JWTPayload } from "jose";
import { requireClaims, TokenError } from "./claims.ts";
import type { Keys } from "./keys.ts";

/** What a token says about its bearer. Only what was checked has these types: see {@link Tokens.verify}. */
export type Claims = JWTPayload & { role?: string };

/** Signs and checks access tokens with the project's ES256 key. */
export interface Tokens {
  /** Signs claims as they are: `exp` and the rest are the caller's business. */
  sign(claims: Claims): Promise<string>;
  /**
   * The claims of a token that this project signed and that is good now. `role` is there always, `anon`
   * where the token names none, and is text always: a claim `null` asks for a role of that name.
   *
   * @param skewSeconds how far the clocks of the server that signs and the one that checks may be apart; the default is PostgREST's.
   * @throws TokenError
   */
  verify(token: string, skewSeconds?: number): Promise<Claims & { role: string }>;
}

/** PostgREST's, not configurable there either. */
const SKEW_SECONDS = 30;

/** How many verified tokens are remembered: checking a signature costs more than a small query. */
const REMEMBERED = 1000;

/** Creates the signer and checker for a set of keys. */
export async function createTokens(keys: Keys): Promise<Tokens> {
  const { kid } = keys.signingJwk;
  const signingKey = await importJWK(keys.signingJwk, "ES256");
  const publicKey = await importJWK(keys.jwks.keys[0]!, "ES256");
  /** What the signatures vouch for. Whether it is good at the moment is asked anew each time. */
  const verified = new Map<string, Record<string, unknown>>();

  async function signedClaims(token: string): Promise<Record<string, unknown>> {
    const known = verified.get(token);
    if (known !== undefined) return known;
    const claims = objectIn(await signedPayload(token));
    if (claims === undefined) throw new TokenError("PGRST303", "Parsing claims failed");
    if (verified.size >= REMEMBERED) verified.delete(verified.keys().next().value!);
    verified.set(token, claims);
    return claims;
  }

  async function signedPayload(token: string): Promise<string> {
    const header = readHeader(token);
    if (header.alg === "none") {
      throw new TokenError("PGRST301", "Wrong or unsupported encoding algorithm", {
        details: "JWT is unsecured but expected 'alg' was not 'none'",
      });
    }
    // The algorithm is ours to say, never the token's: HS256 with a public key is a forgery.
    if (header.alg !== "ES256" || (header.kid !== undefined && header.kid !== kid)) {
      throw noKey("No suitable key was found to decode the JWT");
    }
    try {
      const { payload } = await compactVerify(token, publicKey, { algorithms: ["ES256"] });
      return Buffer.from(payload).toString("utf8");
    } catch {
      throw noKey("None of the keys was able to decode the JWT");
    }
  }

  return {
    async sign(claims) {
      const header = { alg: "ES256", kid: kid!, typ: "JWT" };
      return await new SignJWT(claims).setProtectedHeader(header).sign(signingKey);
    },

    async verify(token, skewSeconds = SKEW_SECONDS) {
      const claims = await signedClaims(token);
      requireClaims(claims, Math.floor(Date.now() / 1000), skewSeconds);
      return { ...(claims as Claims), role: roleIn(claims) };
    },
  };
}

/** Reads a token's claims without checking anything: only for tokens that were made a moment ago in this process. */
export function claimsOf(token: string): Claims {
  return decodeJwt(token);
}

/** Algorithms that PostgREST's library knows; another one makes the header unreadable to it. */
const ALGORITHMS = /^(none|(HS|RS|ES)(256|384|512)|EdDSA)$/;

function readHeader(token: string): { alg: string; kid?: string } {
  if (token === "") throw new TokenError("PGRST301", "Empty JWT is sent in Authorization header");
  const parts = token.split(".");
  if (parts.length !== 3) {
    throw new TokenError("PGRST301", `Expected 3 parts in JWT; got ${parts.length}`);
  }
  // Padding is not allowed, nor the letters of the other alphabet; Node would read both.
  const readable = parts.every((part) => /^[\w-]*$/.test(part) && part.length % 4 !== 1);
  const header = readable ? objectIn(Buffer.from(parts[0]!, "base64url").toString("utf8")) : undefined;
  const { alg, kid } = header ?? {};
  if (typeof alg !== "string" || !ALGORITHMS.test(alg) || !["string", "undefined"].includes(typeof kid)) {
    throw new TokenError("PGRST301", "JWT cryptographic operation failed");
  }
  return { alg, kid: kid as string };
}

function objectIn(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function noKey(details: string): TokenError {
  return new TokenError("PGRST301", "No suitable key or wrong key type", { details });
}

function roleIn({ role }: Record<string, unknown>): string {
  if (role === undefined) return "anon";
  return typeof role === "string" ? role : JSON.stringify(role);
}

/** The claims of a user's access token as the auth server makes them, good for an hour from now. */
export function userClaims(apiUrl: string, userId: string): Claims {
  const now = Math.floor(Date.now() / 1000);
  return {
    sub: userId,
    iss: `${apiUrl}/auth/v1`,
    aud: "authenticated",
    role: "authenticated",
    aal: "aal1",
    session_id: randomUUID(),
    iat: now,
    exp: now + 3600,
    app_metadata: { provider: "email" },
    user_metadata: {},
  };
}
