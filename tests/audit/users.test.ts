/** list_token_users and get_token_user: what an admin sees of everybody, and of one. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

interface Listed {
  user_id: string;
  email: string | null;
  tokens_remaining: number;
  [name: string]: unknown;
}
interface Page {
  users: Listed[];
  next_after: string | null;
}

const server = (name: string, args: object = {}) =>
  asService(db, (client) => rpc(client, name, args as never));
const list = async (args: object = {}) => (await server("list_token_users", args)) as unknown as Page;

/** All pages of a list. */
async function pagesOf(args: object): Promise<string[][]> {
  const pages: string[][] = [];
  for (let after: string | null = null; ;) {
    const { users, next_after }: Page = await list({ ...args, p_after: after });
    pages.push(users.map((user) => String(user.email)));
    if (next_after === null) return pages;
    after = next_after;
  }
}

/** Some users of one domain, with so many tokens each. */
async function someUsers(mark: string, tokens: readonly number[]): Promise<string[]> {
  const ids: string[] = [];
  for (const [n, some] of tokens.entries()) {
    const id = await createUser(db, { email: `${String.fromCharCode(97 + n)}@${mark}.example` });
    if (some > 0) await grant(db, id, some);
    ids.push(id);
  }
  return ids;
}

describe("the list of users", () => {
  test("is searched by a part of an address, in any case, or by an id", async () => {
    const [first, second] = await someUsers("search-one", [10, 20]);
    const emails = async (p_search: string) =>
      (await list({ p_search, p_sort: "email", p_descending: false })).users.map((user) => user.email);
    expect(await emails("@Search-ONE.")).toEqual(["a@search-one.example", "b@search-one.example"]);
    expect(await emails(` ${second!.toUpperCase()} `)).toEqual(["b@search-one.example"]);
    expect((await list({ p_search: first })).users).toMatchObject([
      {
        user_id: first,
        tokens_remaining: 10,
        tokens_used: 0,
        state: "active",
        is_user: true,
        last_active_at: expect.any(String),
      },
    ]);
    // what is a pattern elsewhere is a letter here
    expect(await emails("%search-one%")).toEqual([]);
    expect(await emails("_@search-one")).toEqual([]);
  });

  test.each([
    { sort: "balance", order: "cabd" },
    { sort: "used", order: "abcd" },
    { sort: "last_active", order: "bacd" },
    { sort: "email", order: "abcd" },
  ])("pages by $sort, each user once, either way", async ({ sort, order }) => {
    const mark = `pages-${sort.replace("_", "-")}`;
    const [a, b] = await someUsers(mark, [900, 500, 800, 0]);
    for (const [id, tokens] of [
      [a, 300],
      [b, 100],
    ] as const) {
      await server("deduct_tokens_with_fifo", { p_user_id: id, p_tokens_to_deduct: tokens });
    }
    const search = { p_search: mark, p_sort: sort };
    // of the same figure those come by their ids, in one order either way
    const same = { balance: 0, used: 2, last_active: 2, email: 0 }[sort]!;
    const distinct = order.slice(0, 4 - same);
    for (const p_descending of [true, false]) {
      const pages = await pagesOf({ ...search, p_descending, p_limit: 3 });
      expect(pages.map((page) => page.length)).toEqual([3, 1]);
      const found = pages.flat().map((email) => email[0]!);
      expect(found.toSorted().join("")).toBe("abcd");
      const isTurned = p_descending === (sort === "email");
      expect(isTurned ? found.slice(same).toReversed().join("") : found.join("").slice(0, 4 - same)).toBe(
        distinct,
      );
    }
  });

  test("says what can be spent now, and the plan in force, though nobody has booked what is due", async () => {
    const [user] = await someUsers("due", [100]);
    await grant(db, user!, 50, { type: "trial", expires_in: "1 hour" });
    await letTimePass(db, user!, 0.1);
    const booked = await db.admin.query(
      "select tokens_remaining from public.token_accounts where user_id = $1",
      [user],
    );
    expect(booked.rows[0].tokens_remaining).toBe("150");
    const { users } = await list({ p_search: user });
    expect(users[0]!.tokens_remaining).toBe(100);
  });

  test("has who was deleted as long as their books are there, and nobody who has neither", async () => {
    const [kept, gone] = await someUsers("deleted", [40, 0]);
    await db.admin.query("delete from auth.users where id = any ($1)", [[kept, gone]]);
    expect((await list({ p_search: kept })).users).toMatchObject([
      { email: null, is_user: false, tokens_remaining: 40 },
    ]);
    expect((await list({ p_search: gone })).users).toEqual([]);
  });

  test.each([
    ["p_limit", 0],
    ["p_limit", 201],
    ["p_limit", null],
    ["p_sort", "newest"],
    ["p_sort", null],
    ["p_descending", null],
    ["p_search", "x".repeat(321)],
    ["p_after", "next"],
    ["p_after", `many ${randomUUID()}`],
    ["p_after", `1234567890123456789 ${randomUUID()}`],
    ["p_after", ""],
  ])("refuses %s %s", async (name, value) => {
    await expect(server("list_token_users", { [name]: value })).rejects.toThrow("invalid_page");
  });

  test("is for admins and the server", async () => {
    const [user] = await someUsers("rights", [5]);
    const admin = await createUser(db, { admin: true });
    for (const [name, args] of [
      ["list_token_users", {}],
      ["get_token_user", { p_user_id: user }],
    ] as const) {
      await expect(asUser(db, user!, (client) => rpc(client, name, args as never))).rejects.toThrow(
        "forbidden",
      );
      await expect(asAdmin(db, admin, (client) => rpc(client, name, args as never))).resolves.toBeTypeOf(
        "object",
      );
    }
  });
});

describe("one user", () => {
  test("has their plan, what is held, and what they were told", async () => {
    const [user] = await someUsers("one", [1000]);
    await server("set_token_alert_rule", {
      p_user_id: user,
      p_rule: "few",
      p_kind: "dropped",
      p_threshold_tokens: 900,
    });
    const { hold_id } = (await server("reserve_tokens", {
      p_user_id: user,
      p_tokens: 300,
      p_action_type: "chat_conversation",
    })) as { hold_id: string };
    expect(await server("get_token_user", { p_user_id: user })).toMatchObject({
      user_id: user,
      email: "a@one.example",
      is_user: true,
      state: "active",
      subscription: null,
      holds: [{ id: hold_id, tokens: 300, action_type: "chat_conversation", actor_role: "service" }],
      alerts: [{ kind: "dropped", rule: "few" }],
    });
    await server("release_tokens", { p_user_id: user, p_hold_id: hold_id });
    expect(await server("get_token_user", { p_user_id: user })).toMatchObject({ holds: [] });
  });

  test("is there without an account, and is not there at all", async () => {
    const [user] = await someUsers("none", [0]);
    expect(await server("get_token_user", { p_user_id: user })).toMatchObject({
      tokens_used: 0,
      holds: [],
      alerts: [],
    });
    await expect(server("get_token_user", { p_user_id: randomUUID() })).rejects.toThrow("user_not_found");
  });
});
