/** Which issuers' tokens are accepted, by what a project's functions know of its address. Whole requests: tests/functions/every. */
import { afterEach, expect, test, vi } from "vitest";
import { type Claims, checkClaims } from "../../../supabase/functions/_shared/claims.ts";

afterEach(() => void vi.unstubAllGlobals());

const now = 1_800_000_000;
const hosted = { SUPABASE_URL: "https://abcdefghijklmnopqrst.supabase.co" };
const ours: Claims = {
  iss: `${hosted.SUPABASE_URL}/auth/v1`,
  aud: "authenticated",
  iat: now - 60,
  exp: now + 3_540,
};

function isTaken(claims: Claims, settings: Record<string, string> = hosted): boolean {
  vi.stubGlobal("Deno", { env: new Map(Object.entries(settings)) });
  try {
    checkClaims(claims, now);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ slug: "not_authenticated", facts: {} });
    return false;
  }
}

test("a hosted project's token is taken, whichever kind of key has signed it", () => {
  expect(isTaken(ours)).toBe(true);
});

test.each<[string, Partial<Claims>]>([
  ["no end", { exp: undefined }],
  ["an end that is no number", { exp: String(now + 60) }],
  ["an end that has come", { exp: now }],
  ["a beginning to come", { nbf: now + 31 }],
  ["a beginning that is no number", { nbf: "now" }],
  ["a day of issue to come", { iat: now + 31 }],
  ["no audience", { aud: undefined }],
  ["another audience", { aud: "anon" }],
  ["other audiences", { aud: ["anon", ["authenticated"]] }],
  ["no issuer", { iss: undefined }],
  ["another project's issuer", { iss: "https://tsrqponmlkjihgfedcba.supabase.co/auth/v1" }],
  ["the issuer of the API keys", { iss: "supabase" }],
  ["an issuer of this machine", { iss: "http://127.0.0.1:54321/auth/v1" }],
  ["an issuer that is no text", { iss: [ours.iss] }],
])("a token with %s is not", (_, claims) => {
  expect(isTaken({ ...ours, ...claims })).toBe(false);
});

test("clocks may be half a minute apart", () => {
  expect(isTaken({ ...ours, nbf: now + 30, iat: now + 30 })).toBe(true);
});

test.each([
  ["`supabase start`, whose functions know an address inside Docker", "http://127.0.0.1:54321", {}, true],
  ["`supabase start` on another port", "http://localhost:9999", {}, true],
  ["the same from elsewhere", "http://127.0.0.2:54321", {}, false],
  ["the same, on a page of somebody's", "http://127.0.0.1.example.com", {}, false],
  [
    "a project of its own host",
    "https://db.example.com",
    { SUPABASE_PUBLIC_URL: "https://db.example.com/" },
    true,
  ],
  ["a project of its own host that has not said so", "https://db.example.com", {}, false],
  [
    "a domain of its own",
    "https://api.example.com",
    { AUTH_ISSUER: "https://api.example.com/auth/v1" },
    true,
  ],
  [
    "a domain that is being changed",
    "https://api.example.com",
    { AUTH_ISSUER: "https://old.example.com/auth/v1 https://api.example.com/auth/v1" },
    true,
  ],
  [
    "this machine, where an issuer is set",
    "http://localhost:54321",
    { AUTH_ISSUER: "https://a.example.com/auth/v1" },
    false,
  ],
])("the issuer of %s", (_, base, settings, taken) => {
  const claims = { ...ours, iss: `${base}/auth/v1` };
  expect(isTaken(claims, { SUPABASE_URL: "http://kong:8000", ...(settings as Record<string, string>) })).toBe(
    taken,
  );
});
