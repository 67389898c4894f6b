import { Refusal } from "./problem.ts";
import { setting } from "./setting.ts";
import { trimmedEnd } from "./trimmed.ts";

/** What a user's token says, as far as it is looked at here. */
export interface Claims {
  exp?: unknown;
  nbf?: unknown;
  iat?: unknown;
  aud?: unknown;
  iss?: unknown;
}

/** How far the clocks of the server that signs and the one that checks may be apart, in seconds. */
const skew = 30;

/** The audience of every token that the auth server gives to somebody who signs in. */
const audience = "authenticated";

/**
 * Asks of a verified token what a verified signature leaves open: that it ends, has begun, and was
 * made for this project's users by this project's auth server. The data API asks nothing of the kind:
 * a key that several projects share, or a token made for another purpose, would pass there.
 *
 * @throws {Refusal} not_authenticated, without a reason
 */
export function checkClaims({ exp, nbf, iat, aud, iss }: Claims, now = Date.now() / 1000): void {
  const isGood =
    typeof exp === "number" &&
    exp > now &&
    [nbf, iat].every((begin) => begin === undefined || (typeof begin === "number" && begin <= now + skew)) &&
    [aud].flat().includes(audience) &&
    isOurIssuer(iss);
  if (!isGood) throw new Refusal("not_authenticated");
}

/**
 * Whether that is the address of this project's auth server.
 *
 * AUTH_ISSUER says so where it is set. Otherwise it is the project's own address, and where that is one
 * inside Docker (`supabase start` has http://kong:8000) any address of this machine.
 */
function isOurIssuer(iss: unknown): boolean {
  const said = setting("AUTH_ISSUER")?.split(/\s+/);
  if (said !== undefined) return said.some((it) => it === iss);
  if (typeof iss !== "string") return false;
  const own = [setting("SUPABASE_PUBLIC_URL"), setting("SUPABASE_URL")].filter((it) => it !== undefined);
  if (own.some((url) => iss === `${trimmedEnd(url, "/")}/auth/v1`)) return true;
  return isInside(own.at(-1)) && /^http:\/\/(127\.0\.0\.1|localhost)(:\d+)?\/auth\/v1$/.test(iss);
}

/** Whether only other containers can reach that address: plain HTTP to a name without a dot. */
function isInside(url: string | undefined): boolean {
  return /^http:\/\/(?!localhost\b)[^./]+$/.test(url ?? "");
}
