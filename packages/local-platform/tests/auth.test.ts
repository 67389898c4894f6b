// @module-tag proof
import { decodeJwt } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

let it: ApiUnderTest;
let email: string;
let people = 0;
const password = "correct horse";

beforeAll(async () => {
  it = await startApiUnderTest("", { jwtExpirySeconds: 1234 });
});
afterAll(() => it?.close());
beforeEach(() => {
  email = `person-${++people}@example.com`;
});

async function signedUp() {
  const client = it.client();
  const { data, error } = await client.auth.signUp({ email, password, options: { data: { name: "P" } } });
  expect(error).toBeNull();
  return { client, user: data.user!, session: data.session! };
}

const admin = () => it.client(it.keys.secretKey).auth.admin;

describe("a person", () => {
  test("signs up and is signed in", async () => {
    const { user, session } = await signedUp();
    expect(user).toMatchObject({ email, role: "authenticated", user_metadata: { name: "P" } });
    expect(session).toMatchObject({ token_type: "bearer", expires_in: 1234 });
  });

  test("signs in by password, and not by another", async () => {
    const { user } = await signedUp();
    const { data } = await it.client().auth.signInWithPassword({ email: email.toUpperCase(), password });
    expect(data.user?.id).toBe(user.id);
    const { error } = await it.client().auth.signInWithPassword({ email, password: "wrong" });
    expect(error).toMatchObject({ status: 400, code: "invalid_credentials" });
    const nobody = await it.client().auth.signInWithPassword({ email: "nobody@example.com", password });
    // The same answer: nobody learns who has an account.
    expect(nobody.error).toMatchObject({ status: 400, code: "invalid_credentials" });
  });

  test("holds a token with the claims of a hosted one, which anybody can check", async () => {
    const { client, user, session } = await signedUp();
    const { data, error } = await client.auth.getClaims();
    expect(error).toBeNull();
    expect(data!.header).toMatchObject({ alg: "ES256", kid: it.keys.signingJwk.kid });
    expect(data!.claims).toMatchObject({
      iss: `${it.api.url}/auth/v1`,
      sub: user.id,
      aud: "authenticated",
      role: "authenticated",
      email,
      phone: "",
      aal: "aal1",
      amr: [{ method: "password" }],
      app_metadata: { provider: "email", providers: ["email"] },
      user_metadata: { name: "P" },
      is_anonymous: false,
      session_id: expect.any(String),
    });
    const { exp, iat } = decodeJwt(session.access_token);
    expect(exp! - iat!).toBe(1234);
  });

  test("asks who it is, changes its metadata and its password", async () => {
    const { client, user } = await signedUp();
    expect((await client.auth.getUser()).data.user?.id).toBe(user.id);
    expect((await client.auth.updateUser({ data: { name: "Q" } })).data.user?.user_metadata).toMatchObject({
      name: "Q",
    });
    expect((await client.auth.updateUser({ password: "another one" })).error).toBeNull();
    expect((await it.client().auth.signInWithPassword({ email, password })).error?.status).toBe(400);
    expect((await it.client().auth.signInWithPassword({ email, password: "another one" })).error).toBeNull();
  });

  test("refreshes its session, and a change an admin made arrives with it", async () => {
    const { client, user, session } = await signedUp();
    await admin().updateUserById(user.id, { app_metadata: { role: "admin" } });
    const { data, error } = await client.auth.refreshSession();
    expect(error).toBeNull();
    expect(data.session!.refresh_token).not.toBe(session.refresh_token);
    expect(decodeJwt(data.session!.access_token)).toMatchObject({
      sub: user.id,
      app_metadata: { role: "admin", provider: "email" },
    });
    const forged = await it.client().auth.refreshSession({ refresh_token: "no-such-token" });
    expect(forged.error).toMatchObject({ status: 400 });
  });

  test("signs out: neither its session nor its refresh token works any more", async () => {
    const { client, session } = await signedUp();
    expect((await client.auth.signOut()).error).toBeNull();
    const authorization = `Bearer ${session.access_token}`;
    const user = await it.fetch("/auth/v1/user", { headers: { authorization } });
    expect([user.status, await user.json()]).toMatchObject([403, { error_code: "session_not_found" }]);
    const { refresh_token } = session;
    expect((await it.client().auth.refreshSession({ refresh_token })).error?.status).toBe(400);
  });

  test("can't sign up twice, with a weak password or a bad address", async () => {
    await signedUp();
    const again = await it.client().auth.signUp({ email, password });
    expect(again.error).toMatchObject({ status: 422, code: "user_already_exists" });
    const weak = await it.client().auth.signUp({ email: `x-${email}`, password: "12345" });
    expect(weak.error).toMatchObject({ status: 422, code: "weak_password" });
    const bad = await it.client().auth.signUp({ email: "not an address", password });
    expect(bad.error).toMatchObject({ status: 400, code: "validation_failed" });
  });

  test("can't make itself an admin", async () => {
    const { client, user } = await signedUp();
    await client.auth.updateUser({ data: { role: "admin" }, app_metadata: { role: "admin" } } as object);
    await client.auth.refreshSession();
    const { data } = await client.auth.getUser();
    expect(data.user?.app_metadata).toEqual({ provider: "email", providers: ["email"] });
    expect((await client.auth.admin.deleteUser(user.id)).error).toMatchObject({ status: 403 });
  });
});

describe("an admin, with the secret key,", () => {
  test("makes a user who can sign in at once", async () => {
    const { data, error } = await admin().createUser({
      email,
      password,
      email_confirm: true,
      app_metadata: { role: "admin" },
      user_metadata: { name: "P" },
    });
    expect(error).toBeNull();
    expect(data.user).toMatchObject({
      email,
      role: "authenticated",
      app_metadata: { role: "admin", provider: "email", providers: ["email"] },
      user_metadata: { name: "P" },
      identities: [{ provider: "email", identity_data: { email } }],
    });
    const signedIn = await it.client().auth.signInWithPassword({ email, password });
    expect(decodeJwt(signedIn.data.session!.access_token)).toMatchObject({
      sub: data.user!.id,
      app_metadata: { role: "admin" },
    });
  });

  test("makes a user with a given id, who has to confirm the address first", async () => {
    const id = crypto.randomUUID();
    expect((await admin().createUser({ id, email, password })).data.user?.id).toBe(id);
    const { error } = await it.client().auth.signInWithPassword({ email, password });
    expect(error).toMatchObject({ status: 400, code: "email_not_confirmed" });
    await admin().updateUserById(id, { email_confirm: true });
    expect((await it.client().auth.signInWithPassword({ email, password })).error).toBeNull();
  });

  test("lists users by page and finds one by id", async () => {
    const { data } = await admin().createUser({ email });
    await admin().createUser({ email: `x-${email}` });
    const { rows } = await it.db.admin.query("select count(*)::int as users from auth.users");
    const first = await admin().listUsers({ page: 1, perPage: 1 });
    expect(first.data).toMatchObject({ total: rows[0].users, nextPage: 2 });
    const all = await admin().listUsers({ page: 1, perPage: 1000 });
    expect(all.data.users).toHaveLength(rows[0].users);
    expect(all.data.users.map((user) => user.id)).toContain(data.user!.id);
    expect((await admin().getUserById(data.user!.id)).data.user).toEqual(data.user);
  });

  test("changes address, password and metadata; null takes a key away", async () => {
    const { data } = await admin().createUser({
      email,
      password,
      email_confirm: true,
      app_metadata: { a: 1, b: 2 },
    });
    const { id } = data.user!;
    const changed = await admin().updateUserById(id, {
      email: `new-${email}`,
      password: "new password",
      app_metadata: { a: null, c: 3 },
      user_metadata: { deep: { x: [1] } },
    });
    expect(changed.data.user).toMatchObject({ email: `new-${email}`, user_metadata: { deep: { x: [1] } } });
    expect(changed.data.user!.app_metadata).toEqual({ provider: "email", providers: ["email"], b: 2, c: 3 });
    const signedIn = await it
      .client()
      .auth.signInWithPassword({ email: `new-${email}`, password: "new password" });
    expect(signedIn.data.user?.id).toBe(id);
  });

  test("deletes a user, whose sessions end", async () => {
    const { client, user } = await signedUp();
    expect((await admin().deleteUser(user.id)).error).toBeNull();
    expect((await client.auth.getUser()).error).toMatchObject({ status: 403, code: "user_not_found" });
    expect((await client.auth.refreshSession()).error).not.toBeNull();
    expect((await admin().getUserById(user.id)).error).toMatchObject({ status: 404, code: "user_not_found" });
    expect((await admin().deleteUser(user.id)).error).toMatchObject({ status: 404 });
  });

  test("is told what is wrong, and what is not served here by name", async () => {
    const make = async (attributes: object) => (await admin().createUser(attributes)).error;
    await admin().createUser({ email });
    expect(await make({ email })).toMatchObject({ status: 422, code: "email_exists" });
    expect(await make({})).toMatchObject({ status: 400, code: "validation_failed" });
    expect(await make({ email: "no address" })).toMatchObject({ status: 400 });
    expect(await make({ email: `x-${email}`, password: "12345" })).toMatchObject({
      status: 422,
      code: "weak_password",
    });
    expect(await make({ email: `x-${email}`, app_metadata: "admin" })).toMatchObject({ status: 400 });
    expect(await make({ email: `x-${email}`, user_metadata: { nul: "\0" } })).toMatchObject({ status: 400 });
    for (const attribute of ["phone", "ban_duration", "role", "password_hash"]) {
      expect(await make({ email: `x-${email}`, [attribute]: "1h" })).toMatchObject({
        status: 400,
        message: `${attribute} is not served by the local API`,
      });
    }
    const response = await it.fetch("/auth/v1/admin/users/not-a-uuid", {
      headers: { apikey: it.keys.secretKey },
    });
    expect(response.status).toBe(404);
  });

  test("is the only one who may: neither the publishable key nor a user's token is let in", async () => {
    const { client, user, session } = await signedUp();
    await admin().updateUserById(user.id, { app_metadata: { role: "admin" } });
    await client.auth.refreshSession();
    for (const api of [client.auth.admin, it.client().auth.admin]) {
      for (const { error } of [
        await api.listUsers(),
        await api.getUserById(user.id),
        await api.createUser({ email: `x-${email}` }),
        await api.updateUserById(user.id, { app_metadata: { role: "admin" } }),
        await api.deleteUser(user.id),
      ]) {
        expect(error).toMatchObject({ status: 403, code: "not_admin" });
      }
    }
    const both = await it.fetch("/auth/v1/admin/users", {
      headers: { apikey: it.keys.secretKey, authorization: `Bearer ${session.access_token}` },
    });
    expect(both.status).toBe(403);
  });
});

test("the public keys are there for everybody, without a key", async () => {
  const response = await fetch(`${it.api.url}/auth/v1/.well-known/jwks.json`);
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual(it.keys.jwks);
});
