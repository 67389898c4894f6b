/** `create_token_code`, `list_token_codes`, `end_token_code` and `redeem_token_code`. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createCallerFixture, openApi } from "../support/callers.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { diceFor, seed } from "../support/dice.ts";
import { digestQuery } from "../support/digest.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { storm } from "../support/storm.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

const server = (name: string, args: Record<string, unknown> = {}, of = db) =>
  asService(of, (client) => rpc(client, name, args));
const make = (args: Record<string, unknown> = {}, of = db) =>
  server("create_token_code", { p_tokens: 500, p_name: "spring", ...args }, of);
const redeem = (user: string, code: string, args: Record<string, unknown> = {}, of = db) =>
  asUser(of, user, (client) => rpc(client, "redeem_token_code", { p_code: code, ...args }));
const balance = async (user: string, of = db): Promise<number> =>
  (await server("get_user_token_balance", { p_user_id: user }, of)).total_active;
const codeOf = async (id: string, of = db) =>
  (await server("list_token_codes", {}, of)).codes.find((one: { code_id: string }) => one.code_id === id);

const wrongCode = { success: false, code: "PT404", message: "code_not_redeemable", details: "{}" };
const tooMany = { code: "PT429", message: "too_many_attempts" };

describe("making a code", () => {
  test("it is shown once: what is kept is a digest", async () => {
    const made = await make({ p_max_redemptions: 3 });
    expect(made).toEqual({
      success: true,
      code: expect.stringMatching(/^([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}$/),
      code_id: expect.any(String),
      name: "spring",
      tokens: 500,
      grant_type: "bonus",
      lifetime_days: null,
      max_redemptions: 3,
      max_per_user: 1,
      valid_from: expect.any(String),
      valid_until: null,
    });
    const { rows } = await db.admin.query(
      "select to_jsonb(c)::text as kept, digest from tokenbook.codes c where id = $1",
      [made.code_id],
    );
    const written = made.code.replaceAll("-", "");
    expect(rows[0].digest).toEqual(createHash("sha256").update(written).digest());
    for (const place of [
      rows[0].kept,
      JSON.stringify(await server("list_token_changes")),
      JSON.stringify(await server("list_token_codes")),
    ]) {
      expect(place).not.toContain(written);
      expect(place).not.toContain(made.code);
    }
  });

  test("admins make codes, users and anonymous callers do not; nor do they see or end one", async () => {
    const user = await createUser(db);
    const made = await asAdmin(db, admin, (client) =>
      rpc(client, "create_token_code", { p_tokens: 5, p_name: "by an admin" }),
    );
    const { changes } = await server("list_token_changes", { p_limit: 1 });
    expect(changes[0]).toMatchObject({
      change: "create_token_code",
      actor_role: "admin",
      actor_id: admin,
      details: { code_id: made.code_id, tokens: 5, name: "by an admin" },
    });
    for (const [name, args] of [
      ["create_token_code", { p_tokens: 5, p_name: "mine" }],
      ["list_token_codes", {}],
      ["end_token_code", { p_code_id: made.code_id }],
    ] as const) {
      await expect(asUser(db, user, (client) => rpc(client, name, args))).rejects.toMatchObject({
        message: "forbidden",
      });
      await expect(asAnon(db, (client) => rpc(client, name, args))).rejects.toMatchObject({ code: "42501" });
    }
    await expect(
      asUser(db, user, (client) => client.query("select * from tokenbook.codes")),
    ).rejects.toMatchObject({ code: "42501" });
    await expect(
      asUser(db, user, (client) => rpc(client, "redeem_token_code", { p_code: made.code, p_user_id: admin })),
    ).rejects.toMatchObject({ message: "forbidden" });
  });

  test.each([
    [{ p_tokens: 0 }, "invalid_amount"],
    [{ p_tokens: 1_000_000_000_001 }, "invalid_amount"],
    [{ p_name: null }, "invalid_code"],
    [{ p_name: "   " }, "invalid_code"],
    [{ p_name: "x".repeat(101) }, "invalid_code"],
    [{ p_max_redemptions: 0 }, "invalid_code"],
    [{ p_max_redemptions: null }, "invalid_code"],
    [{ p_max_redemptions: 2, p_max_per_user: 3 }, "invalid_code"],
    [{ p_max_per_user: 0 }, "invalid_code"],
    [{ p_lifetime_days: 0 }, "invalid_code"],
    [{ p_valid_until: "2020-01-01" }, "invalid_code"],
    [{ p_valid_until: "infinity" }, "invalid_code"],
    [{ p_valid_from: "infinity" }, "invalid_code"],
    [{ p_valid_from: "2100-01-02", p_valid_until: "2100-01-01" }, "invalid_code"],
    [{ p_grant_type: "trial" }, "invalid_grant_type"],
    [{ p_grant_type: "admin" }, "invalid_grant_type"],
    [{ p_grant_type: "gift" }, "invalid_grant_type"],
    [{ p_code: "abc" }, "invalid_code"],
    [{ p_code: "spring_sale" }, "invalid_code"],
    [{ p_code: "É".repeat(8) }, "invalid_code"],
    [{ p_code: "A".repeat(65) }, "invalid_code"],
  ])("%j is refused with %s", async (args, slug) => {
    await expect(make(args)).rejects.toMatchObject({ message: slug });
  });

  test("a chosen code is the same in any spelling, and exists only once for ever", async () => {
    const { code_id, code } = await make({ p_code: "Spring-2026", p_max_redemptions: 5 });
    expect(code).toBe("Spring-2026");
    for (const typed of ["spring2026", "SPRING 2026", " s-p-r-i-n-g 2026 "])
      expect(await redeem(await createUser(db), typed)).toMatchObject({ success: true, code_id });
    await server("end_token_code", { p_code_id: code_id });
    await expect(make({ p_code: "SPRING2026" })).rejects.toMatchObject({
      code: "PT409",
      message: "code_taken",
    });
  });

  test("codes come in pages, newest first", async () => {
    const { codes, next_before } = await server("list_token_codes", { p_limit: 2 });
    expect(codes).toHaveLength(2);
    const rest = await server("list_token_codes", { p_limit: 200, p_before: next_before });
    const { rows } = await db.admin.query("select id from tokenbook.codes order by number desc");
    expect([...codes, ...rest.codes].map((one: { code_id: string }) => one.code_id)).toEqual(
      rows.map(({ id }) => id),
    );
    await expect(server("list_token_codes", { p_limit: 0 })).rejects.toMatchObject({
      message: "invalid_page",
    });
  });
});

describe("redeeming", () => {
  test("one grant, by an entry that says the code; once more is answered the same, replayed", async () => {
    const user = await createUser(db);
    const { code, code_id } = await make({ p_max_redemptions: 2, p_lifetime_days: 30 });
    const first = await redeem(user, code);
    expect(first).toEqual({
      success: true,
      code_id,
      grant_id: expect.any(String),
      tokens_granted: 500,
      grant_type: "bonus",
      granted_at: expect.any(String),
      expires_at: expect.any(String),
      pays_for: null,
      transaction_id: 1,
      tokens_remaining: 500,
      replayed: false,
    });
    expect(Date.parse(first.expires_at) - Date.parse(first.granted_at)).toBe(30 * 24 * 3_600_000);
    expect(await redeem(user, code)).toEqual({ ...first, replayed: true });
    expect(await redeem(user, code.toLowerCase(), { p_idempotency_key: "again" })).toEqual({
      ...first,
      replayed: true,
    });
    const { rows } = await db.admin.query(
      "select entry_type, action_type, reason, actor_role, actor_id, terms ->> 'code' as code from public.token_transactions where user_id = $1",
      [user],
    );
    expect(rows).toEqual([
      {
        entry_type: "grant",
        action_type: "bonus_grant",
        reason: "redeemed a code",
        actor_role: "user",
        actor_id: user,
        code: code_id,
      },
    ]);
    expect(await codeOf(code_id)).toMatchObject({ redemptions: 1, state: "open" });
    expect(await balance(user)).toBe(500);
  });

  test("a replay outlives the code, and its end", async () => {
    const user = await createUser(db);
    const { code, code_id } = await make();
    const first = await redeem(user, code);
    await server("end_token_code", { p_code_id: code_id, p_reason: "leaked" });
    expect(await redeem(user, code)).toEqual({ ...first, replayed: true });
  });

  test("as often as a user may; a key makes a retry one redemption", async () => {
    const user = await createUser(db);
    const { code, code_id } = await make({ p_max_redemptions: 10, p_max_per_user: 3 });
    const first = await redeem(user, code, { p_idempotency_key: "one" });
    expect(await redeem(user, code, { p_idempotency_key: "one" })).toEqual({ ...first, replayed: true });
    await redeem(user, code);
    const third = await redeem(user, code, { p_idempotency_key: "three" });
    expect(third).toMatchObject({ transaction_id: 3, tokens_remaining: 1500, replayed: false });
    expect(await redeem(user, code)).toEqual({ ...third, replayed: true });
    expect(await redeem(user, code, { p_idempotency_key: "one" })).toEqual({ ...first, replayed: true });
    expect(await codeOf(code_id)).toMatchObject({ redemptions: 3 });
  });

  test("a used key is refused whether the other code exists or not, and says nothing of it", async () => {
    const user = await createUser(db);
    const [one, other] = [await make(), await make()];
    await redeem(user, one.code, { p_idempotency_key: "k" });
    const answers = await Promise.all(
      [other.code, "THERE-IS-NONE"].map((code) =>
        redeem(user, code, { p_idempotency_key: "k" }).catch(({ message, detail }) => [message, detail]),
      ),
    );
    expect(answers[0]).toEqual(["idempotency_key_reused", '{"differs": ["code_id"]}']);
    expect(answers[1]).toEqual(answers[0]);
  });

  test("unknown, over, used up, ended and not begun are one answer, and change nothing but the count", async () => {
    const [usedUp, ended, over, early] = [
      await make(),
      await make(),
      await make({ p_valid_until: new Date(Date.now() + 3_600_000).toISOString() }),
      await make({ p_valid_from: "2100-01-01" }),
    ];
    await redeem(await createUser(db), usedUp.code);
    expect(await server("end_token_code", { p_code_id: ended.code_id })).toMatchObject({
      state: "ended",
      replayed: false,
    });
    expect(await server("end_token_code", { p_code_id: ended.code_id })).toMatchObject({
      state: "ended",
      replayed: true,
    });
    await db.admin.query(
      "update tokenbook.codes set valid_from = now() - interval '2 hours', valid_until = now() - interval '1 hour' where id = $1",
      [over.code_id],
    );
    expect(
      (await Promise.all([usedUp, ended, over, early].map(({ code_id }) => codeOf(code_id)))).map(
        ({ state }) => state,
      ),
    ).toEqual(["used_up", "ended", "expired", "waiting"]);
    const user = await createUser(db);
    await redeem(user, (await make()).code); // there is an account
    const query = await digestQuery(db.admin);
    const digest = async () => (await db.admin.query(query)).rows[0].digest;
    const before = await digest();
    const answers = [];
    for (const code of ["NO-SUCH-CODE", usedUp.code, ended.code, over.code, early.code])
      answers.push(await redeem(user, code));
    expect(answers[0]).toMatchObject(wrongCode);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    const counted = await db.admin.query(
      "delete from tokenbook.code_attempts where user_id = $1 returning failures",
      [user],
    );
    expect(counted.rows).toEqual([{ failures: 5 }]);
    expect(await digest()).toBe(before);
    await expect(server("end_token_code", { p_code_id: user })).rejects.toMatchObject({
      message: "code_not_found",
    });
  });

  test("the server and an admin redeem for a user; the entry says who did", async () => {
    const user = await createUser(db);
    const { code } = await make({ p_max_redemptions: 2, p_max_per_user: 2 });
    await server("redeem_token_code", { p_code: code, p_user_id: user });
    await asAdmin(db, admin, (client) => rpc(client, "redeem_token_code", { p_code: code, p_user_id: user }));
    const { rows } = await db.admin.query(
      "select actor_role, actor_id from public.token_transactions where user_id = $1 order by id",
      [user],
    );
    expect(rows).toEqual([
      { actor_role: "service", actor_id: null },
      { actor_role: "admin", actor_id: admin },
    ]);
    await expect(
      server("redeem_token_code", { p_code: code, p_user_id: "00000000-0000-4000-8000-00000000dead" }),
    ).rejects.toMatchObject({
      message: "user_not_found",
    });
  });

  test("a frozen account redeems nothing and learns nothing of codes; a deleted user neither", async () => {
    const user = await createUser(db);
    const [first, second] = [await make(), await make()];
    const had = await redeem(user, first.code);
    await server("set_token_account_state", { p_user_id: user, p_state: "frozen", p_reason: "a test" });
    for (const code of [second.code, "NO-SUCH-CODE"])
      await expect(redeem(user, code)).rejects.toMatchObject({ code: "PT403", message: "account_frozen" });
    expect(await redeem(user, first.code)).toEqual({ ...had, replayed: true });

    const gone = await createUser(db);
    await redeem(gone, (await make()).code);
    await db.admin.query("delete from auth.users where id = $1", [gone]);
    await expect(redeem(gone, second.code)).rejects.toMatchObject({ message: "not_authenticated" });
    await expect(server("redeem_token_code", { p_code: second.code, p_user_id: gone })).rejects.toMatchObject(
      { message: "user_not_found" },
    );
    expect(await codeOf(second.code_id)).toMatchObject({ redemptions: 0 });
  });

  test("a member of a team redeems for their own account", async () => {
    const [payer, member] = [await createUser(db), await createUser(db)];
    await server("grant_tokens", { p_user_id: payer, p_tokens: 100 });
    await server("add_token_team_member", { p_user_id: payer, p_member_id: member });
    await redeem(member, (await make()).code);
    const { rows } = await db.admin.query(
      "select user_id from public.token_balances where user_id = any ($1) and grant_type = 'bonus'",
      [[payer, member]],
    );
    expect(rows).toEqual([{ user_id: member }]);
  });

  test("a user's debt is repaid from it first", async () => {
    const user = await createUser(db);
    const { grant_id } = await server("grant_tokens", { p_user_id: user, p_tokens: 300 });
    await server("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 300 });
    await server("void_token_grant", {
      p_user_id: user,
      p_grant_id: grant_id,
      p_reason: "a mistake",
      p_take_back: true,
    });
    expect(await redeem(user, (await make()).code)).toMatchObject({
      tokens_granted: 500,
      tokens_remaining: 200,
    });
  });

  test("verify finds a redemption without its entry, and an entry of another code", async () => {
    const of = await createDatabase();
    try {
      const user = await createUser(of);
      await redeem(user, (await make({}, of)).code, {}, of);
      await expectCleanBooks(of);
      await of.admin.query(
        "update tokenbook.code_redemptions set code_id = gen_random_uuid() where user_id = $1",
        [user],
      );
      const { rows } = await of.admin.query("select invariant from public.verify_token_ledger()");
      expect(rows).toEqual([{ invariant: "I5 a code is redeemed by its entry" }]);
    } finally {
      await of.drop();
    }
  });
});

describe("guessing", () => {
  test("ten tries in vain an hour; then everything is refused, a code that is right too, until it is said to end", async () => {
    const user = await createUser(db);
    const { code } = await make();
    for (let nth = 0; nth < 10; nth++) expect(await redeem(user, `GUESS-${nth}`)).toMatchObject(wrongCode);
    const refusal = await redeem(user, code).catch((error) => error);
    expect(refusal).toMatchObject(tooMany);
    const { limit, resets_at } = JSON.parse(refusal.detail);
    expect(limit).toBe(10);
    expect(Date.parse(resets_at)).toBeGreaterThan(Date.now() + 3_500_000);
    await expect(redeem(user, "GUESS-AGAIN")).rejects.toMatchObject(tooMany);
    await expect(server("redeem_token_code", { p_code: code, p_user_id: user })).rejects.toMatchObject(
      tooMany,
    );
    const { rows } = await db.admin.query("select failures from tokenbook.code_attempts where user_id = $1", [
      user,
    ]);
    expect(rows).toEqual([{ failures: 10 }]);

    await db.admin.query(
      "update tokenbook.code_attempts set since = since - interval '1 hour' where user_id = $1",
      [user],
    );
    expect(await redeem(user, code)).toMatchObject({ success: true });
    expect(await redeem(user, "GUESS-LATER")).toMatchObject(wrongCode);
    expect(
      (await db.admin.query("select failures from tokenbook.code_attempts where user_id = $1", [user])).rows,
    ).toEqual([{ failures: 1 }]);
  });

  test("text that cannot be a code is not counted, and a success neither counts nor resets the count", async () => {
    const user = await createUser(db);
    const { code } = await make();
    for (let nth = 0; nth < 9; nth++) await redeem(user, `GUESS-${nth}`);
    for (const typed of ["", "abc", null, "a_b_c_d", "x".repeat(100_000)])
      await expect(redeem(user, typed as string)).rejects.toMatchObject({
        code: "PT400",
        message: "invalid_code",
      });
    await redeem(user, code);
    await redeem(user, code);
    expect(await redeem(user, "THE-TENTH")).toMatchObject(wrongCode);
    await expect(redeem(user, code)).rejects.toMatchObject(tooMany);
  });

  test("through the API a wrong code is a 404 that is counted, and one too many a 429", async () => {
    const fixture = await createCallerFixture();
    const api = await openApi(fixture);
    try {
      const { code } = await make({}, fixture.db);
      const ask = (p_code: string) =>
        api.ask("self", "rpc/redeem_token_code", { method: "POST", body: JSON.stringify({ p_code }) });
      for (let nth = 0; nth < 10; nth++)
        expect(await ask(`GUESS-${nth}`)).toMatchObject({
          status: 404,
          body: { code: "PT404", message: "code_not_redeemable", details: "{}", hint: expect.any(String) },
        });
      expect(await ask(code)).toMatchObject({ status: 429, body: { message: "too_many_attempts" } });
      await fixture.db.admin.query("delete from tokenbook.code_attempts where true");
      expect(await ask(code)).toMatchObject({ status: 200, body: { success: true, tokens_granted: 500 } });
    } finally {
      await api.close();
      await fixture.close();
    }
  });

  test("a user who is deleted and forgotten leaves no count", async () => {
    const user = await createUser(db);
    await redeem(user, "NO-SUCH-CODE");
    await db.admin.query("delete from auth.users where id = $1", [user]);
    expect(await server("forget_token_user", { p_user_id: user })).toMatchObject({
      erased: { "tokenbook.code_attempts": 1 },
    });
  });
});

// ---- At once -----------------------------------------------------------------------------------

/** Many users redeem codes of limit `K` at once, some of them more than once; what came of it, and what is wrong. */
async function redeemAtOnce(
  of: Database,
  { users, limit, perUser }: { users: number; limit: number; perUser: number },
) {
  const { code, code_id } = await make(
    { p_max_redemptions: limit, p_max_per_user: perUser, p_tokens: 7 },
    of,
  );
  const ids = await Promise.all(Array.from({ length: users }, () => createUser(of)));
  const { mix } = await storm(of, {
    connections: 8,
    attempts: users * 3,
    async run(client, attempt) {
      const { rows } = await client.query("select public.redeem_token_code($1, $2) as answer", [
        code,
        ids[attempt % users],
      ]);
      const { success, replayed, message } = rows[0].answer;
      return success ? (replayed ? "replayed" : "redeemed") : message;
    },
  });
  const { rows } = await of.admin.query(
    `select coalesce(sum(u.n), 0)::int as grants, coalesce(max(u.n), 0)::int as most,
            (select c.redemptions from tokenbook.codes c where c.id = $1) as counted
       from (select count(*) as n from public.token_transactions
              where terms ->> 'code' = $1::uuid::text group by user_id) u`,
    [code_id],
  );
  const { grants, most, counted } = rows[0];
  const violations = Math.max(0, grants - limit) + Math.max(0, most - perUser) + Math.abs(counted - grants);
  console.log(
    `${users} users, 3 tries each, limit ${limit}, ${perUser} a user: grants=${grants} most of one=${most} counted=${counted} violations=${violations} mix=${JSON.stringify(mix)}`,
  );
  return { grants, most, counted, violations, mix };
}

test("of forty who redeem a code of limit ten at once, ten have it", async () => {
  const { grants, most, violations } = await redeemAtOnce(db, { users: 40, limit: 10, perUser: 1 });
  expect({ grants, most, violations }).toEqual({ grants: 10, most: 1, violations: 0 });
});

test("of four who redeem a code of two each at once, each has it twice", async () => {
  const { grants, most, violations } = await redeemAtOnce(db, { users: 4, limit: 100, perUser: 2 });
  expect({ grants, most, violations }).toEqual({ grants: 8, most: 2, violations: 0 });
});

/** One user guesses on many connections at once; how many guesses were answered. */
async function guessAtOnce(of: Database): Promise<number> {
  const user = await createUser(of);
  await server("grant_tokens", { p_user_id: user, p_tokens: 1 }, of);
  const { mix } = await storm(of, {
    connections: 8,
    attempts: 60,
    async run(client, attempt) {
      const { rows } = await client
        .query("select public.redeem_token_code($1, $2) as answer", [`GUESS-${attempt}`, user])
        .catch(({ message }: Error) => ({ rows: [{ answer: { message } }] }));
      return rows[0].answer.message;
    },
  });
  console.log(`one user guesses 60 codes at once: mix=${JSON.stringify(mix)}`);
  return mix["code_not_redeemable"] ?? 0;
}

test("of sixty guesses at once ten are answered", async () => {
  expect(await guessAtOnce(db)).toBe(10);
});

test("the tests see it", { tags: ["proof"] }, async () => {
  const tried: [mutant: string, violations: (of: Database) => Promise<number>][] = [
    [
      "codes-looked-at-without-their-lock",
      async (of) => (await redeemAtOnce(of, { users: 40, limit: 10, perUser: 1 })).violations,
    ],
    [
      "codes-without-a-limit-per-user",
      async (of) => (await redeemAtOnce(of, { users: 4, limit: 100, perUser: 2 })).violations,
    ],
    ["guesses-beside-each-other", async (of) => (await guessAtOnce(of)) - 10],
    ["wrong-codes-raise", async (of) => (await guessAtOnce(of)) - 10],
    ["guessing-without-a-bound", async (of) => (await guessAtOnce(of)) - 10],
  ];
  for (const [mutant, violations] of tried) {
    const of = await createDatabase();
    try {
      await applyMutant(of, mutant);
      const found = await violations(of);
      console.log(`mutant ${mutant}: violations=${found}`);
      expect(found, mutant).toBeGreaterThan(0);
    } finally {
      await of.drop();
    }
  }
});

test("each way of being over counts: without it the code gives", { tags: ["proof"] }, async () => {
  for (const [mutant, spoil] of [
    ["ended-codes-give", "ended_at = now()"],
    [
      "expired-codes-give",
      "valid_from = now() - interval '2 hours', valid_until = now() - interval '1 hour'",
    ],
    ["used-up-codes-give", "redemptions = max_redemptions"],
    ["codes-give-before-they-begin", "valid_from = now() + interval '1 hour'"],
  ] as const) {
    const of = await createDatabase();
    try {
      const { code, code_id } = await make({}, of);
      await of.admin.query(`update tokenbook.codes set ${spoil} where id = $1`, [code_id]);
      expect(await redeem(await createUser(of), code, {}, of), mutant).toMatchObject(wrongCode);
      await applyMutant(of, mutant);
      expect(await redeem(await createUser(of), code, {}, of), mutant).toMatchObject({ success: true });
    } finally {
      await of.drop();
    }
  }
});

// ---- Whatever comes in whatever order ----------------------------------------------------------

test("any sequence of redemptions, ends and guesses gives what a simple count says", async () => {
  const dice = diceFor(seed);
  const users = await Promise.all(Array.from({ length: 5 }, () => createUser(db)));
  const codes = await Promise.all(
    Array.from({ length: 6 }, async (_, nth) => {
      const max = 1 + dice.below(6);
      const perUser = 1 + dice.below(Math.min(max, 3));
      const made = await make({ p_tokens: 10 ** nth, p_max_redemptions: max, p_max_per_user: perUser });
      return { ...made, max, perUser, isEnded: false, had: new Map<string, number>() };
    }),
  );
  const expected = new Map(users.map((user) => [user, 0]));
  const failures = new Map(users.map((user) => [user, 0]));
  let calls = 0;
  for (; calls < 150; calls++) {
    const user = users[dice.below(users.length)]!;
    const code = codes[dice.below(codes.length)]!;
    if (dice.below(25) === 0) {
      await server("end_token_code", { p_code_id: code.code_id });
      code.isEnded = true;
      continue;
    }
    const isGuess = dice.below(12) === 0;
    const had = code.had.get(user) ?? 0;
    const used = [...code.had.values()].reduce((sum, n) => sum + n, 0);
    const isLocked = failures.get(user)! >= 10;
    const should = isLocked
      ? "too_many_attempts"
      : isGuess
        ? "code_not_redeemable"
        : had >= code.perUser
          ? "replayed"
          : code.isEnded || used >= code.max
            ? "code_not_redeemable"
            : "redeemed";
    const came = await redeem(user, isGuess ? `NONE${calls}` : code.code).then(
      ({ success, replayed, message }) => (success ? (replayed ? "replayed" : "redeemed") : message),
      ({ message }) => message,
    );
    expect(came, `SEED=${seed}, call ${calls}`).toBe(should);
    if (should === "code_not_redeemable") failures.set(user, failures.get(user)! + 1);
    if (should === "redeemed") {
      code.had.set(user, had + 1);
      expected.set(user, expected.get(user)! + code.tokens);
    }
  }
  for (const [user, tokens] of expected)
    expect(tokens === 0 ? 0 : await balance(user), `SEED=${seed}`).toBe(tokens);
  console.log(`property: SEED=${seed} calls=${calls} violations=0`);
});
