/** A token that is not ours or not good now, in PostgREST's words. */
export class TokenError extends Error {
  override name = "TokenError";
  /** `PGRST301`: it can't be read or is not ours. `PGRST303`: what it claims is not so now. */
  readonly code: "PGRST301" | "PGRST303";
  readonly details: string | null;

  constructor(
    code: TokenError["code"],
    message: string,
    { details = null }: { details?: string | null } = {},
  ) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/**
 * Checks the claims that say when and for whom a token is good. One that is left out, or null, says nothing: a
 * token without `exp` is good for ever. Any audience will do; hosted projects configure none.
 *
 * @param now in seconds since 1970.
 * @throws TokenError PGRST303, for the first that fails in PostgREST's order: exp, nbf, iat, aud.
 */
export function requireClaims(claims: Record<string, unknown>, now: number, skewSeconds: number): void {
  const { aud } = claims;
  if ((secondsIn(claims, "exp") ?? now) < now - skewSeconds) refuse("JWT expired");
  if ((secondsIn(claims, "nbf") ?? now) > now + skewSeconds) refuse("JWT not yet valid");
  if ((secondsIn(claims, "iat") ?? now) > now + skewSeconds) refuse("JWT issued at future");
  const audiences = Array.isArray(aud) ? (aud as unknown[]) : [aud ?? ""];
  if (!audiences.every((one) => typeof one === "string")) {
    refuse("The JWT 'aud' claim must be a string or an array of strings");
  }
}

function secondsIn(claims: Record<string, unknown>, name: string): number | undefined {
  const value = claims[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== "number") refuse(`The JWT '${name}' claim must be a number`);
  // PostgREST takes a fraction, and what is beyond 64 bits, for 0.
  return Number.isInteger(value) && Math.abs(value) < 2 ** 63 ? value : 0;
}

function refuse(message: string): never {
  throw new TokenError("PGRST303", message);
}
