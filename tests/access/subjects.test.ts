/** Users who sign in with Clerk, Auth0 or Firebase: a token whose subject is not a uuid, from the API to the books. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApi, type Api } from "local-platform/gateway/api";
import { createKeys, type Keys } from "local-platform/gateway/keys";
import { createTokens, userClaims, type Claims, type Tokens } from "local-platform/gateway/tokens";
import { grant } from "../support/books.ts";
import { callablesOf } from "../support/calls.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser } from "../support/populated-user.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { calling, reading } from "../proofs/promises/expected-rights.ts";

const CLERK = "https://clerk.example.com";
const FIREBASE = "https://securetoken.google.com/example";

/** A database and the API in front of it. */
interface World {
  db: Database;
  /** Registers a subject as the server does. */
  register(userId: string, subject: string, issuer?: string, more?: object): Promise<Record<string, unknown>>;
  /** A request with a token of that issuer: a function with arguments, or a table. */
  ask(token: Claims, path: string, args?: object): Promise<{ status: number; body: unknown }>;
  close(): Promise<void>;
}

async function open(variant?: string): Promise<World> {
  const db = await createDatabase();
  if (variant !== undefined) await applyMutant(db, variant);
  const keys: Keys = await createKeys();
  const tokens: Tokens = await createTokens(keys);
  const api: Api = await startApi({ databaseUrlFor: (role) => db.url(role), keys, port: 0 });
  return {
    db,
    register: (userId, subject, issuer = CLERK, more = {}) =>
      asService(db, (client) =>
        rpc(client, "set_token_subject", {
          p_user_id: userId,
          p_issuer: issuer,
          p_subject: subject,
          ...more,
        }),
      ),
    async ask(claims, path, args) {
      const token = await tokens.sign({ ...userClaims(api.url, ""), iss: CLERK, ...claims });
      const response = await fetch(`${api.url}/rest/v1/${path}`, {
        method: args === undefined ? "GET" : "POST",
        headers: {
          apikey: keys.publishableKey,
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
        },
        ...(args !== undefined && { body: JSON.stringify(args) }),
      });
      return { status: response.status, body: await response.json() };
    },
    async close() {
      await api.close();
      await db.drop();
    },
  };
}

let world: World;
beforeAll(async () => {
  world = await open();
});
afterAll(() => world.close());

const uniqueSubject = (before = "user_") => `${before}${randomUUID().replaceAll("-", "")}`;
const NOT_REGISTERED = {
  status: 403,
  body: {
    code: "PT403",
    message: "subject_not_registered",
    details: `{"issuer": "${CLERK}"}`,
    hint: "The server has to say which user that is: set_token_subject.",
  },
};

describe("a subject that nobody has registered", () => {
  const sub = uniqueSubject();

  test("is refused by name by every function that a signed-in user may call", async () => {
    const names = calling
      .filter(({ reach }) => reach.self !== "ungranted")
      .flatMap(({ functions }) => functions)
      .filter((name) => name.startsWith("public."));
    const callables = (await callablesOf(world.db)).filter(({ name }) => names.includes(name));
    expect(callables.length).toBeGreaterThan(50);
    for (const { name, parameters } of callables) {
      const args = Object.fromEntries(
        parameters.filter(({ isRequired }) => isRequired).map((parameter) => [parameter.name, null]),
      );
      const said = await world.ask({ sub }, `rpc/${name.replace("public.", "")}`, args);
      expect(said, name).toEqual(NOT_REGISTERED);
    }
  });

  test("is refused by name by every table that has rows of users, and reads the price list", async () => {
    await populateUser(world.db); // of an empty table nobody asks whose the rows are
    const told: Record<string, number> = {};
    for (const { sees, relations } of reading) {
      for (const relation of relations.filter((name) => name.startsWith("public."))) {
        const name = relation.replace("public.", "");
        if (sees.self === "no" || name === "user_profiles") continue; // the app's own, and so is its policy
        const said = await world.ask({ sub }, `${name}?limit=1`);
        told[said.status] = (told[said.status] ?? 0) + 1;
        if (sees.self === "common") expect(said.status, name).toBe(200);
        else expect(said, name).toEqual(NOT_REGISTERED);
      }
    }
    expect(told).toEqual({ 200: 8, 403: expect.any(Number) });
  });

  test("a token without a subject, or with an empty one, is nobody's", async () => {
    for (const nobody of ["", undefined]) {
      const said = await world.ask({ sub: nobody as string }, "rpc/get_user_token_balance", {});
      expect(said).toMatchObject({ status: 403, body: { code: "42501", message: "not_authenticated" } });
      expect(await world.ask({ sub: nobody as string }, "token_accounts")).toEqual({ status: 200, body: [] });
    }
  });
});

describe("a registered subject", () => {
  test("is its user: reads and spends, by function and by table", async () => {
    const [sub, user] = [uniqueSubject(), await createUser(world.db)];
    await grant(world.db, user, 1_000);
    expect(await world.register(user, sub)).toEqual({ success: true, user_id: user, replayed: false });

    const spent = await world.ask({ sub }, "rpc/deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 30,
    });
    expect(spent).toMatchObject({ status: 200, body: { success: true } });
    expect(await world.ask({ sub }, "rpc/get_user_token_balance", {})).toMatchObject({
      status: 200,
      body: { total_active: 970 },
    });
    expect(await world.ask({ sub }, "token_accounts?select=user_id,tokens_remaining")).toEqual({
      status: 200,
      body: [{ user_id: user, tokens_remaining: 970 }],
    });
    const { rows } = await world.db.admin.query(
      "select actor_role, actor_id from public.token_transactions where user_id = $1 order by id desc limit 1",
      [user],
    );
    expect(rows).toEqual([{ actor_role: "user", actor_id: user }]);
  });

  test("is nobody else, and no admin unless its user is one", async () => {
    const [sub, user, other] = [uniqueSubject(), await createUser(world.db), await createUser(world.db)];
    await grant(world.db, other, 10);
    await world.register(user, sub);
    const claims = { sub, app_metadata: { role: "admin" }, user_metadata: { role: "admin", sub: other } };
    for (const [name, args] of [
      ["get_user_token_balance", { p_user_id: other }],
      ["grant_tokens", { p_user_id: user, p_tokens: 5 }],
    ] as const)
      expect(await world.ask(claims, `rpc/${name}`, args)).toMatchObject({
        status: 403,
        body: { message: "forbidden" },
      });
    expect(await world.ask(claims, "token_balances")).toEqual({ status: 200, body: [] });

    await world.db.admin.query("insert into tokenbook.admins (user_id) values ($1)", [user]);
    expect(
      await world.ask(claims, "rpc/grant_tokens", { p_user_id: other, p_tokens: 5, p_reason: "gift" }),
    ).toMatchObject({ status: 200 });
  });

  test("is that of its issuer only", async () => {
    expect(await strangersSubject(world)).toBe(403);
    expect(await strangersSubject(world, "named")).toBe(403);
  });

  test("is nobody once its user is deleted", async () => {
    const [sub, user] = [uniqueSubject("auth0|"), await createUser(world.db)];
    await world.register(user, sub);
    await world.db.admin.query("delete from auth.users where id = $1", [user]);
    expect(await world.ask({ sub }, "rpc/get_user_token_balance", {})).toMatchObject({
      status: 403,
      body: { message: "not_authenticated" },
    });
  });

  test("it stays with its first user, unless a mistake is corrected, with a reason that is kept", async () => {
    const [sub, first, second] = [uniqueSubject(), await createUser(world.db), await createUser(world.db)];
    await world.register(first, sub);
    expect(await world.register(first, sub)).toEqual({ success: true, user_id: first, replayed: true });
    expect(await world.register(second, sub)).toEqual({ success: false, user_id: first, replayed: true });
    await expect(world.register(second, sub, CLERK, { p_replace: true })).rejects.toMatchObject({
      code: "PT400",
      message: "invalid_reason",
    });

    const replace = { p_replace: true, p_reason: "registered with the wrong user" };
    expect(await world.register(second, sub, CLERK, replace)).toMatchObject({
      success: true,
      user_id: second,
    });
    expect(await world.ask({ sub }, "rpc/get_user_token_balance", { p_user_id: first })).toMatchObject({
      status: 403,
    });
    const { changes } = await asService(world.db, (client) =>
      rpc(client, "list_token_changes", { p_user_id: second }),
    );
    expect(changes).toMatchObject([
      {
        change: "set_token_subject",
        actor_role: "service",
        reason: "registered with the wrong user",
        details: { issuer: CLERK, instead_of: first },
      },
    ]);
  });
});

test("a subject that is nearly a uuid works like any other subject", async () => {
  const id = randomUUID();
  const nearly = [
    `{${id}}`,
    id.replaceAll("-", ""),
    `${id} `,
    id.replace(/^./, "-"),
    id.replace(/.$/, "g"),
    "-".repeat(36),
    `${id}\u0661`,
  ];
  for (const sub of nearly)
    expect(await world.ask({ sub }, "rpc/get_user_token_balance", {}), sub).toEqual(NOT_REGISTERED);
  const user = await createUser(world.db);
  expect(await world.ask({ sub: user.toUpperCase() }, "rpc/get_user_token_balance", {})).toMatchObject({
    status: 200,
  });
});

test.each([
  ["a subject that is a uuid", { p_subject: randomUUID() }, "invalid_subject"],
  ["an empty subject", { p_subject: "" }, "invalid_subject"],
  ["a subject of two lines", { p_subject: "a\nb" }, "invalid_subject"],
  ["a subject of 256 bytes", { p_subject: "x".repeat(256) }, "invalid_subject"],
  ["no issuer", { p_issuer: null }, "invalid_subject"],
  ["an issuer of 256 bytes", { p_issuer: "x".repeat(256) }, "invalid_subject"],
  ["nobody", { p_user_id: null }, "invalid_user_id"],
  ["a user whom auth.users does not have", { p_user_id: randomUUID() }, "user_not_found"],
])("%s is not registered", async (_, wrong, message) => {
  const user = await createUser(world.db);
  await expect(world.register(user, uniqueSubject(), CLERK, wrong)).rejects.toMatchObject({ message });
});

test("a signed-in user registers nothing, and reads nobody's subjects", async () => {
  const user = await createUser(world.db);
  for (const statement of [
    "select public.set_token_subject($1, 'x', 'y')",
    "select tokenbook.set_token_subject($1, 'x', 'y')",
    "insert into tokenbook.subjects (issuer, subject, user_id) values ('x', 'y', $1)",
    "select from tokenbook.subjects where user_id = $1",
  ])
    await expect(asUser(world.db, user, (client) => client.query(statement, [user]))).rejects.toMatchObject({
      code: "42501",
    });
});

/**
 * What is answered to somebody whom another issuer calls as ours calls a user.
 *
 * @param how whether their own issuer's subject names a user too
 */
async function strangersSubject(at: World, how: "unknown" | "named" = "unknown"): Promise<number> {
  const [sub, user, other] = [uniqueSubject(""), await createUser(at.db), await createUser(at.db)];
  await at.register(user, sub);
  if (how === "named") await at.register(other, sub, FIREBASE);
  const { status } = await at.ask({ sub, iss: FIREBASE }, "rpc/get_user_token_balance", { p_user_id: user });
  return status;
}

describe("the tests see it", { tags: ["proof"] }, () => {
  test("that the issuer is left out of the key", async () => {
    const bad = await open("subjects-of-any-issuer");
    expect(await strangersSubject(bad)).toBe(200);
    await bad.close();
  });

  test("that whom nobody has registered is nobody, without a word", async () => {
    const bad = await open("subjects-unknown-are-nobody");
    const sub = uniqueSubject();
    expect(await bad.ask({ sub }, "token_accounts")).toEqual({ status: 200, body: [] });
    await bad.close();
  });

  test("that a subject changes hands, and that it names nobody", async () => {
    const bad = await open("subjects-change-hands");
    const [sub, first, second] = [uniqueSubject(), await createUser(bad.db), await createUser(bad.db)];
    await bad.register(first, sub);
    expect(await bad.register(second, sub)).toMatchObject({ success: true, user_id: second });
    expect(await bad.register(randomUUID(), uniqueSubject())).toMatchObject({ success: true });
    await bad.close();
  });
});
