import { TokenError } from "../gateway/claims.ts";
import { claimsOf } from "../gateway/tokens.ts";
import type { Tokens } from "../gateway/tokens.ts";
import type { Caller } from "../gateway/caller.ts";

/** A channel's bearer, and when that ends, in seconds since 1970. */
export interface Bearer {
  caller: Caller;
  /** Undefined: never, as with a key of the project. */
  until: number | undefined;
}

/** A token that opens no channel. */
export class BadBearer extends Error {
  override name = "BadBearer";
  /** What the answer to a join puts before the words. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Whose token it is, in the words of hosted Realtime where it is nobody's now. There, a token says when it ends, and
 * no skew of clocks is allowed.
 *
 * @throws BadBearer
 */
export async function readBearer(tokens: Tokens, token: string): Promise<Bearer> {
  try {
    const claims = await tokens.verify(token, 0);
    const { exp } = claims;
    // PostgREST takes a token without these; Realtime does not.
    if (claimsOf(token)["role"] === undefined || !Number.isInteger(exp)) {
      throw new BadBearer("InvalidJWTToken", "Fields `role` and `exp` are required in JWT");
    }
    const ago = agoOf(exp!);
    if (ago >= 0) throw expired(ago);
    return { caller: { role: claims.role, claims }, until: exp };
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    throw wordsFor(error, token);
  }
}

/** A token's end, told to a channel that is open. */
export function expired(secondsAgo: number): BadBearer {
  return new BadBearer("InvalidJWTToken", `Token has expired ${secondsAgo} seconds ago`);
}

function agoOf(until: number): number {
  return Math.floor(Date.now() / 1000) - until;
}

function wordsFor({ code, message, details }: TokenError, token: string): BadBearer {
  if (code === "PGRST303") {
    const until = message === "JWT expired" ? claimsOf(token).exp : undefined;
    return until === undefined ? new BadBearer("InvalidJWTToken", message) : expired(agoOf(until));
  }
  return details?.includes("able to decode") || details?.includes("suitable key was found")
    ? new BadBearer("JwtSignatureError", "Failed to validate JWT signature")
    : new BadBearer("MalformedJWT", "The token provided is not a valid JWT");
}
