/** Everybody who may come along to an edge function, forgers of tokens among them. */
import { createHmac, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createKeys } from "local-platform/gateway/keys";
import { createTokens } from "local-platform/gateway/tokens";
import { adminClaims, type Caller, type Stack } from "./stack.ts";

/** What a caller is to be taken for. */
export type Kind = "unknown" | "user" | "former admin" | "admin" | "server";

export type Callers = Record<string, Caller & { kind: Kind }>;

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** @param target the user who is asked about: one of the callers claims to be that user */
export async function everyCaller(stack: Stack, target: string): Promise<Callers> {
  const callers: Callers = {};
  const { keys, token } = stack;
  const admin = await stack.user({ admin: true });
  const former = await stack.user({ admin: true });
  await stack.db.admin.query("delete from tokenbook.admins where user_id = $1", [former.id]);

  const bearer = (jwt: string) => ({ apikey: keys.publishableKey, authorization: `Bearer ${jwt}` });
  const good = await token(admin.id, adminClaims);
  const [header, payload, signature] = good.split(".") as [string, string, string];
  const { kid, alg } = JSON.parse(Buffer.from(header, "base64url").toString()) as {
    kid: string;
    alg: string;
  };
  const forged = (head: object, by: (input: string) => string) => {
    const input = `${base64url(head)}.${payload}`;
    return bearer(`${input}.${by(input)}`);
  };
  const { privateKey: stranger } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const byStranger = (input: string) =>
    sign("sha256", Buffer.from(input), { key: stranger, dsaEncoding: "ieee-p1363" }).toString("base64url");
  const byPublicKey = (input: string) =>
    createHmac("sha256", JSON.stringify(keys.jwks.keys[0])).update(input).digest("base64url");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
  const past = Math.floor(Date.now() / 1000) - 60;
  const withoutSubject = await token(undefined as unknown as string, adminClaims);
  const user = await stack.user();

  // As another project's auth server signs them: with its own keys, and with our key's name.
  const other = await createKeys();
  const { sign: signElsewhere } = await createTokens(other);
  const elsewhere = await signElsewhere({ ...claims, iss: "https://another.example.com/auth/v1" });

  const unknown: Record<string, Record<string, string>> = {
    nobody: {},
    "the publishable key": { apikey: keys.publishableKey },
    "the publishable key as bearer": bearer(keys.publishableKey),
    "the secret key as bearer only": { authorization: `Bearer ${keys.secretKey}` },
    "a wrong secret key": { apikey: `${keys.secretKey}x` },
    "a secret key cut short": { apikey: keys.secretKey.slice(0, -1) },
    "an empty bearer": { ...bearer(""), authorization: "Bearer " },
    "a bearer that is no token": bearer("let-me-in"),
    "a token under another scheme": { apikey: keys.publishableKey, authorization: `Basic ${good}` },
    "a token with other claims": bearer(
      `${header}.${base64url({ ...claims, sub: randomUUID() })}.${signature}`,
    ),
    "a token with no signature": bearer(`${header}.${payload}.`),
    "the right kid and a stranger's key": forged({ alg, kid, typ: "JWT" }, byStranger),
    "another kid": forged({ alg, kid: randomUUID(), typ: "JWT" }, byStranger),
    "no kid": forged({ alg, typ: "JWT" }, byStranger),
    "alg none": forged({ alg: "none", kid, typ: "JWT" }, () => ""),
    "alg HS256 with the public key as secret": forged({ alg: "HS256", kid, typ: "JWT" }, byPublicKey),
    "a key of its own in the header": forged(
      { alg, typ: "JWT", jwk: stranger.export({ format: "jwk" }) },
      byStranger,
    ),
    "an expired token": bearer(await token(admin.id, { ...adminClaims, exp: past })),
    "a token not valid yet": bearer(await token(admin.id, { ...adminClaims, nbf: past + 3600 })),
    "a token without an end": bearer(await token(admin.id, { ...adminClaims, exp: undefined as never })),
    "a token that ends in words": bearer(await token(admin.id, { ...adminClaims, exp: "never" as never })),
    "a token issued in the future": bearer(await token(admin.id, { ...adminClaims, iat: past + 300 })),
    "a token for another audience": bearer(await token(admin.id, { ...adminClaims, aud: "mailer" })),
    "a token for several others": bearer(await token(admin.id, { ...adminClaims, aud: ["mailer", "shop"] })),
    "a token for nobody": bearer(await token(admin.id, { ...adminClaims, aud: undefined as never })),
    "a token of another issuer": bearer(
      await token(admin.id, { ...adminClaims, iss: "https://another.example.com/auth/v1" }),
    ),
    "a token of an issuer that is nearly ours": bearer(
      await token(admin.id, { ...adminClaims, iss: `${stack.url}/auth/v1/` }),
    ),
    "a token of no issuer": bearer(await token(admin.id, { ...adminClaims, iss: undefined as never })),
    "another project's token": bearer(elsewhere),
    "another project's token of our issuer": bearer(await signElsewhere(claims)),
    "another project's keys": { ...bearer(elsewhere), apikey: other.publishableKey },
    "another project's secret key": { apikey: other.secretKey },
    "the anon key as a user": bearer(await token(undefined as unknown as string, { role: "anon" })),
    "a token of nobody": bearer(withoutSubject),
    "a token of nobody with the secret key": { ...bearer(withoutSubject), apikey: keys.secretKey },
    "a forged token with the secret key": {
      ...forged({ alg, kid, typ: "JWT" }, byStranger),
      apikey: keys.secretKey,
    },
  };
  for (const [name, headers] of Object.entries(unknown)) callers[name] = { headers, kind: "unknown" };
  callers["a user"] = { ...user, kind: "user" };
  callers["a user with the secret key and their own token"] = {
    headers: { ...user.headers, apikey: keys.secretKey },
    kind: "user",
  };
  callers["a user who claims to be an admin"] = {
    headers: bearer(await token(target, { user_metadata: { role: "admin" }, app_role: "admin" })),
    kind: "user",
  };
  callers["an admin by list only"] = { headers: bearer(await token(admin.id)), kind: "user" };
  callers["an admin by token only"] = { headers: former.headers, kind: "former admin" };
  callers["a user, by a token for us among others"] = {
    headers: bearer(await token(user.id, { aud: ["mailer", "authenticated"] })),
    kind: "user",
  };
  callers["a user whose clock is a little ahead"] = {
    headers: bearer(await token(user.id, { iat: past + 80 })),
    kind: "user",
  };
  callers["an admin"] = { headers: admin.headers, kind: "admin" };
  callers["the server"] = { ...stack.server, kind: "server" };
  callers["the server, key in both headers"] = {
    headers: { apikey: keys.secretKey, authorization: `Bearer ${keys.secretKey}` },
    kind: "server",
  };
  return callers;
}
