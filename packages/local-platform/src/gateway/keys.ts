import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exportJWK, generateKeyPair } from "jose";
import type { JSONWebKeySet, JWK } from "jose";
import { Failure } from "../terminal/failure.ts";

/** What a project's API is opened and its tokens are signed with. Everything but `jwks` and `publishableKey` is secret. */
export interface Keys {
  /** `sb_publishable_…`: names the project; a request that has only this is `anon`. */
  publishableKey: string;
  /** `sb_secret_…`: makes a request `service_role`. */
  secretKey: string;
  /** The private ES256 key, with `kid`. */
  signingJwk: JWK;
  /** The public half, as served at /auth/v1/.well-known/jwks.json. */
  jwks: JSONWebKeySet;
}

type StoredKeys = Pick<Keys, "publishableKey" | "secretKey" | "signingJwk">;

/** Makes a new set of keys. Nothing is written. */
export async function createKeys(): Promise<Keys> {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  const signingJwk: JWK = {
    ...(await exportJWK(privateKey)),
    kid: crypto.randomUUID(),
    alg: "ES256",
    use: "sig",
  };
  return withJwks({
    publishableKey: `sb_publishable_${randomBytes(24).toString("base64url")}`,
    secretKey: `sb_secret_${randomBytes(24).toString("base64url")}`,
    signingJwk,
  });
}

/**
 * The project's keys: read from `<dir>/keys.json`, or made and written there (readable by its owner only).
 *
 * @throws Failure when the file is there and can't be understood: making new keys then would sign everybody out unasked.
 */
export async function loadOrCreateKeys(dir: string): Promise<Keys> {
  const file = join(dir, "keys.json");
  const stored = await read(file);
  if (stored !== undefined) return stored;
  const keys = await createKeys();
  const { jwks: _derived, ...secret } = keys;
  await mkdir(dir, { recursive: true });
  try {
    // wx: of two starts at once the second takes the first's keys instead of replacing them.
    await writeFile(file, `${JSON.stringify(secret, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return (await read(file)) ?? keys;
  }
  return keys;
}

async function read(file: string): Promise<Keys | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const stored = parse(text);
  if (stored === undefined) {
    throw new Failure(`${file} is damaged. Delete it to get new keys; everybody is signed out then.`);
  }
  return withJwks(stored);
}

function parse(text: string): StoredKeys | undefined {
  try {
    const stored = JSON.parse(text) as StoredKeys;
    const { publishableKey, secretKey, signingJwk } = stored;
    const whole =
      publishableKey.startsWith("sb_publishable_") &&
      secretKey.startsWith("sb_secret_") &&
      typeof signingJwk.kid === "string" &&
      typeof signingJwk.d === "string";
    return whole ? stored : undefined;
  } catch {
    return undefined;
  }
}

function withJwks(stored: StoredKeys): Keys {
  const { kty, crv, x, y, kid, alg, use } = stored.signingJwk;
  const jwks = { keys: [{ kty, crv, x, y, kid, alg, use, key_ops: ["verify"] } as JWK] };
  return { ...stored, jwks };
}
