import { randomUUID } from "node:crypto";
import { createLocalJWKSet, decodeJwt, errors, importJWK, jwtVerify, SignJWT } from "jose";
import type { JWTPayload } from "jose";
import type { Keys } from "./keys.ts";

/** What a token says about its bearer. */
export type Claims = JWTPayload & { role?: string };

/** Why a token was refused. */
export type TokenFault = "malformed" | "forged" | "expired";

/** A token that is not ours or no longer good. */
export class TokenError extends Error {
  override name = "TokenError";
  readonly fault: TokenFault;

  constructor(fault: TokenFault) {
    super(fault);
    this.fault = fault;
  }
}

/** Signs and checks access tokens with the project's ES256 key. */
export interface Tokens {
  /** Signs claims as they are: `exp` and the rest are the caller's business. */
  sign(claims: Claims): Promise<string>;
  /** The claims of a token that this project signed and that is still good. @throws TokenError */
  verify(token: string): Promise<Claims>;
}

/** How many verified tokens are remembered: checking a signature costs more than a small query. */
const REMEMBERED = 1000;

/** Creates the signer and checker for a set of keys. */
export async function createTokens(keys: Keys): Promise<Tokens> {
  const signingKey = await importJWK(keys.signingJwk, "ES256");
  const publicKeys = createLocalJWKSet(keys.jwks);
  const verified = new Map<string, Claims>();

  return {
    async sign(claims) {
      const header = { alg: "ES256", kid: keys.signingJwk.kid!, typ: "JWT" };
      return await new SignJWT(claims).setProtectedHeader(header).sign(signingKey);
    },

    async verify(token) {
      const known = verified.get(token);
      if (known !== undefined && (known.exp ?? 0) > Date.now() / 1000) return known;
      verified.delete(token);
      try {
        // The algorithm is ours to say, never the token's: `none` and HS256 with a public key are forgeries.
        const { payload } = await jwtVerify<Claims>(token, publicKeys, {
          algorithms: ["ES256"],
          requiredClaims: ["exp"],
        });
        if (verified.size >= REMEMBERED) verified.delete(verified.keys().next().value!);
        verified.set(token, payload);
        return payload;
      } catch (error) {
        throw new TokenError(faultOf(error));
      }
    },
  };
}

/** Reads a token's claims without checking anything: only for tokens that were made a moment ago in this process. */
export function claimsOf(token: string): Claims {
  return decodeJwt(token);
}

function faultOf(error: unknown): TokenFault {
  if (error instanceof errors.JWTExpired) return "expired";
  return error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid ? "malformed" : "forged";
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
