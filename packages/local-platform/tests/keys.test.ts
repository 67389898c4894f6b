// @module-tag proof
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadOrCreateKeys } from "local-platform/gateway/keys";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "keys-"));
});
afterEach(() => rm(dir, { recursive: true }));

test("keys are made once, readable by their owner only, and found again", async () => {
  const made = await loadOrCreateKeys(join(dir, "state"));
  const file = join(dir, "state", "keys.json");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await loadOrCreateKeys(join(dir, "state"))).toEqual(made);
  expect(made.publishableKey).toMatch(/^sb_publishable_[\w-]{32}$/);
  expect(made.secretKey).toMatch(/^sb_secret_[\w-]{32}$/);
});

test("two starts at once end up with the same keys", async () => {
  const [a, b] = await Promise.all([loadOrCreateKeys(dir), loadOrCreateKeys(dir)]);
  const third = await loadOrCreateKeys(dir);
  expect([a.secretKey, b.secretKey]).toContain(third.secretKey);
  expect(a.secretKey).toBe(b.secretKey);
});

test("what is published holds no private part", async () => {
  const { jwks, signingJwk } = await loadOrCreateKeys(dir);
  expect(jwks.keys).toHaveLength(1);
  expect(jwks.keys[0]).toMatchObject({ kty: "EC", crv: "P-256", alg: "ES256", kid: signingJwk.kid });
  expect(JSON.stringify(jwks)).not.toContain(signingJwk.d);
});

test("a damaged file is reported, not replaced", async () => {
  const file = join(dir, "keys.json");
  for (const damaged of ["", "{}", '{"publishableKey": "x"', "null"]) {
    await writeFile(file, damaged);
    await expect(loadOrCreateKeys(dir)).rejects.toThrow(/damaged. Delete it/);
    expect(await readFile(file, "utf8")).toBe(damaged);
  }
});
