// @module-tag proof
import { generateKeyPairSync } from "node:crypto";
import { SignJWT } from "jose";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { MAX_BODY_BYTES, MAX_JSON_DEPTH } from "local-platform/gateway/http";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

let it: ApiUnderTest;

beforeAll(async () => {
  it = await startApiUnderTest(`
    create function public.whoami() returns text language sql stable as 'select current_user::text';
    grant execute on function public.whoami() to anon, authenticated, service_role;
    create function public.echo(p_value jsonb) returns jsonb language sql stable as 'select p_value';
    grant execute on function public.echo(jsonb) to anon;
    create table public.things (id int primary key, value jsonb);
    alter table public.things enable row level security;
    grant select, insert on public.things to anon;
    create policy "anyone adds" on public.things for insert to anon with check (true);`);
});
afterAll(() => it?.close());

const whoami = (headers: Record<string, string>) =>
  it.fetch("/rest/v1/rpc/whoami", { method: "POST", body: "{}", headers });

test("the key alone says anon or service_role", async () => {
  expect(await (await whoami({})).json()).toBe("anon");
  expect(await (await whoami({ apikey: it.keys.secretKey })).json()).toBe("service_role");
});

test("a key in the place of the token, as supabase-js sends it before sign-in, is no token", async () => {
  expect(await (await whoami({ authorization: `Bearer ${it.keys.publishableKey}` })).json()).toBe("anon");
  // Not even the secret one: the role comes from `apikey`.
  expect(await (await whoami({ authorization: `Bearer ${it.keys.secretKey}` })).json()).toBe("anon");
});

test("a token decides over the key", async () => {
  const authorization = `Bearer ${await it.token({ role: "authenticated", sub: crypto.randomUUID() })}`;
  expect(await (await whoami({ authorization })).json()).toBe("authenticated");
  expect(await (await whoami({ authorization, apikey: it.keys.secretKey })).json()).toBe("authenticated");
});

test("no key, a wrong key and the secret key in a browser are refused on every path", async () => {
  for (const path of [
    "/rest/v1/rpc/whoami",
    "/rest/v1/things",
    "/auth/v1/user",
    "/auth/v1/token?grant_type=password",
  ]) {
    const missing = await fetch(it.api.url + path, { method: "POST" });
    expect([path, missing.status]).toEqual([path, 401]);
    expect(await missing.json()).toMatchObject({ message: "No API key found in request" });
    for (const apikey of [
      "sb_secret_wrong",
      it.keys.secretKey.slice(0, -1),
      `${it.keys.secretKey} `.repeat(2),
    ]) {
      const wrong = await it.fetch(path, { method: "POST", headers: { apikey } });
      expect([path, wrong.status]).toEqual([path, 401]);
      expect(await wrong.json()).toMatchObject({ message: "Invalid API key" });
    }
    const browser = await it.fetch(path, {
      method: "POST",
      headers: { apikey: it.keys.secretKey, "user-agent": "Mozilla/5.0 (X11; Linux x86_64)" },
    });
    expect([path, browser.status]).toEqual([path, 401]);
  }
});

test("forged tokens are refused by functions, tables and sign-in alike", async () => {
  const claims = { role: "service_role", sub: crypto.randomUUID(), exp: Math.floor(Date.now() / 1000) + 60 };
  const { kid } = it.keys.signingJwk;
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const sign = (alg: string, key: Parameters<SignJWT["sign"]>[0]) =>
    new SignJWT(claims).setProtectedHeader({ alg, kid: kid! }).sign(key);
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const good = await it.token({ role: "authenticated" });
  const [header, , signature] = good.split(".");

  const tokens: Record<string, string> = {
    "right kid, wrong key": await sign("ES256", other),
    "HMAC with the public key": await sign(
      "HS256",
      new TextEncoder().encode(JSON.stringify(it.keys.jwks.keys[0])),
    ),
    "another payload": `${header}.${encode(claims)}.${signature}`,
    "alg none": `${encode({ alg: "none", kid })}.${encode(claims)}.`,
  };
  // So that what is in the cache of checked tokens can't help the forgery.
  expect(await (await whoami({ authorization: `Bearer ${good}` })).json()).toBe("authenticated");
  for (const [what, token] of Object.entries(tokens)) {
    for (const path of ["/rest/v1/rpc/whoami", "/rest/v1/things?select=id"]) {
      const response = await it.fetch(path, { headers: { authorization: `Bearer ${token}` } });
      expect([what, response.status, await response.json()]).toMatchObject([what, 401, { code: "PGRST301" }]);
    }
    const user = await it.fetch("/auth/v1/user", { headers: { authorization: `Bearer ${token}` } });
    expect([what, user.status]).toEqual([what, 403]);
  }
});

test("a token that was good is refused once it has expired, though its signature is known", async () => {
  const exp = Math.floor(Date.now() / 1000) - 26;
  const authorization = `Bearer ${await it.token({ role: "authenticated", exp })}`;
  expect((await whoami({ authorization })).status).toBe(200);
  await expect
    .poll(async () => (await whoami({ authorization })).status, { timeout: 15_000, interval: 250 })
    .toBe(401);
});

test("sign-in has the clock that it signs by: a token that expired a moment ago is refused", async () => {
  for (const token of [await it.token({ exp: Math.floor(Date.now() / 1000) - 5 }), "garbage"]) {
    const response = await it.fetch("/auth/v1/user", { headers: { authorization: `Bearer ${token}` } });
    expect([response.status, await response.json()]).toMatchObject([403, { error_code: "bad_jwt" }]);
  }
});

test("a browser may sign people in: preflight and answers carry the CORS headers", async () => {
  const url = `${it.api.url}/auth/v1/token`;
  const preflight = await fetch(url, {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "apikey,authorization,x-client-info",
    },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
  expect(preflight.headers.get("access-control-allow-headers")).toContain("x-client-info");
});

test("a refusal for want of a key carries the CORS headers: a browser hides its body otherwise", async () => {
  for (const path of ["/rest/v1/rpc/whoami", "/rest/v1/things", "/auth/v1/token"]) {
    const refused = await fetch(it.api.url + path, { method: "POST" });
    expect([path, refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([
      path,
      401,
      "*",
    ]);
  }
});

test("a body over 1 MB is 413, announced or not, and one just below is read", async () => {
  const body = (bytes: number) => JSON.stringify({ p_value: "x".repeat(bytes - '{"p_value":""}'.length) });
  const fits = await it.fetch("/rest/v1/rpc/echo", { method: "POST", body: body(MAX_BODY_BYTES) });
  expect(fits.status).toBe(200);
  for (const path of ["/rest/v1/rpc/echo", "/rest/v1/things", "/auth/v1/signup"]) {
    const tooLarge = await it.fetch(path, { method: "POST", body: body(MAX_BODY_BYTES + 1) });
    expect([path, tooLarge.status]).toEqual([path, 413]);
    const stream = new Blob([body(3 * MAX_BODY_BYTES)]).stream();
    const unannounced = await it.fetch(path, { method: "POST", body: stream, duplex: "half" } as RequestInit);
    expect([path, unannounced.status]).toEqual([path, 413]);
  }
});

test("JSON nested too deeply is refused before Postgres runs out of stack", async () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  const echo = (value: string) =>
    it.fetch("/rest/v1/rpc/echo", {
      method: "POST",
      body: `{"p_value":${value}}`,
    });
  expect((await echo(nested(MAX_JSON_DEPTH - 1))).status).toBe(200);
  expect((await echo(JSON.stringify("[".repeat(100_000)))).status).toBe(200);
  for (const deep of [nested(MAX_JSON_DEPTH + 1), "[".repeat(500_000), '{"a":'.repeat(100_000)]) {
    const response = await echo(deep);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: "PGRST102" });
  }
  for (const path of ["/rest/v1/things", "/auth/v1/signup"]) {
    const response = await it.fetch(path, { method: "POST", body: `{"value":${nested(50_000)}}` });
    expect([path, response.status]).toEqual([path, 400]);
  }
});

test("control: without the limit Postgres answers 54001 and talks about its stack", async () => {
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  await expect(it.db.admin.query("select $1::text::jsonb", [deep])).rejects.toMatchObject({
    code: "54001",
    hint: expect.stringContaining("max_stack_depth"),
  });
});

test("unreadable bodies, paths and methods get a client's error and nothing of the inside", async () => {
  const requests: [path: string, init: RequestInit, status: number][] = [
    ["/rest/v1/rpc/echo", { method: "POST", body: "{" }, 400],
    ["/rest/v1/rpc/echo", { method: "POST", body: "[1]" }, 400],
    ["/rest/v1/rpc/echo", { method: "POST", body: "null" }, 404],
    ["/rest/v1/rpc/echo", { method: "POST", body: '{"p_value":"\\u0000"}' }, 400],
    ["/rest/v1/rpc/echo", { method: "POST", body: "<a/>", headers: { "content-type": "text/xml" } }, 404],
    ["/rest/v1/rpc/a%2Fb", { method: "POST", body: "{}" }, 404],
    ["/rest/v1/rpc/__proto__", { method: "POST", body: "{}" }, 404],
    ["/rest/v1/rpc/echo", { method: "POST", body: '{"__proto__":1}' }, 404],
    ["/rest/v1/things", { method: "POST", body: "{" }, 400],
    ["/rest/v1/things?id=eq.x", {}, 400],
    ["/rest/v1/things?id=nonsense", {}, 400],
    ["/rest/v1/pg_authid", {}, 404],
    ["/rest/v1/auth.users", {}, 404],
    ["/rest/v1/", {}, 403],
    ["/auth/v1/signup", { method: "POST", body: "{" }, 400],
    ["/auth/v1/otp", { method: "POST", body: "{}" }, 404],
    ["/auth/v1/verify?type=signup&token=x", {}, 404],
    ["/auth/v1/authorize?provider=github", {}, 404],
    ["/auth/v1/admin/users", {}, 403],
    ["/storage/v1/bucket", {}, 404],
    ["/_system/info", {}, 404],
    ["/", {}, 404],
  ];
  for (const [path, init, status] of requests) {
    const response = await it.fetch(path, init);
    const body = await response.text();
    expect([path, init.body, response.status]).toEqual([path, init.body, status]);
    expect(body).not.toMatch(/\bat .*\.(ts|js|mjs):\d|node_modules|postgresql:\/\//);
  }
});

test("an API without its database answers 503 and says nothing about it", async () => {
  const printed = vi.spyOn(console, "error").mockImplementation(() => {});
  const cut = await startApiUnderTest();
  try {
    await cut.db.drop();
    for (const path of ["/rest/v1/rpc/whoami", "/rest/v1/things"]) {
      const response = await cut.fetch(path);
      expect([path, response.status]).toEqual([path, 503]);
      expect(await response.json()).toMatchObject({ code: "PGRST000", details: null });
    }
    const response = await cut.fetch("/auth/v1/token?grant_type=password", {
      method: "POST",
      body: JSON.stringify({ email: "a@example.com", password: "the-password" }),
    });
    expect(response.status).toBe(500);
    expect(await response.text()).not.toMatch(/postgres|test_/);
    expect(JSON.stringify(printed.mock.calls)).not.toMatch(/the-password|postgresql:|node_modules/);
  } finally {
    printed.mockRestore();
    await cut.api.close();
  }
});

test.each(["OPTIONS /%00", "OPTIONS /rpc/a%00b"])(
  "a name with a zero byte is the name of nothing: %s",
  async (request) => {
    const [method, path] = request.split(" ") as [string, string];
    expect((await it.fetch(`/rest/v1${path}`, { method })).status).toBe(404);
  },
);
