/** A grant that is to begin later: nothing counts it before its moment, and everything from then on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { takeTheClock } from "../support/clock.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const DAY = 24 * 3600 * 1000;
const inDays = (days: number) => new Date(Date.now() + days * DAY).toISOString();
const server = (name: string, args: Record<string, unknown> = {}, of = db) =>
  asService(of, (client) => rpc(client, name, { p_user_id: user, ...args }));
/** Ten days from now, 100 tokens. */
const promise = (args: Record<string, unknown> = {}, of = db) =>
  server(
    "grant_tokens",
    { p_tokens: 100, p_grant_type: "purchase", p_starts_at: inDays(10), p_reason: "a promise", ...args },
    of,
  );
const spend = (tokens: number, of = db) =>
  server("deduct_tokens_with_fifo", { p_tokens_to_deduct: tokens }, of);
const entries = async (of = db) =>
  (
    await of.admin.query(
      `select entry_type, action_type, tokens::int, balance_after::int, actor_role, reason, original_id::int
         from public.token_transactions where user_id = $1 order by id`,
      [user],
    )
  ).rows;

/** What everybody who only looks is told, with the account as it is: a transaction that is read-only books nothing. */
const looks = async (of = db) => {
  const client = await of.admin.connect();
  try {
    await client.query("begin read only; set local role service_role");
    await client.query(`select set_config('request.jwt.claims', '{"role": "service_role"}', true)`);
    const { rows } = await client.query(
      `select public.get_user_token_balance($1) as balance, public.can_spend_tokens(100, $1) as may,
              public.estimate_tokens($1, 'chat_conversation', p_tokens_used => 100) as quote,
              (select c.vibe_assistant_tokens_remaining::int from public.token_counters c where c.user_id = $1) as counter`,
      [user],
    );
    const { balance, may, quote, counter } = rows[0];
    return {
      active: balance.total_active,
      grants: balance.grants.map((one: { id: string }) => one.id),
      may,
      sufficient: quote.sufficient,
      payers: quote.would_be_deducted_from.map((one: { grant_id: string }) => one.grant_id),
      counter,
    };
  } finally {
    await client.query("rollback");
    client.release();
  }
};

test("nothing counts it before its moment; at its moment it counts, and a spending call books it first", async () => {
  user = await createUser(db);
  const to = await promise();
  expect(to).toMatchObject({
    success: true,
    tokens_granted: 100,
    grant_type: "purchase",
    transaction_id: 1,
    tokens_remaining: 0,
    replayed: false,
  });
  expect(await looks()).toEqual({
    active: 0,
    grants: [],
    may: false,
    sufficient: false,
    payers: [],
    counter: 0,
  });
  expect((await spend(1)).success).toBe(false);
  expect(await server("list_upcoming_token_grants")).toEqual({
    user_id: user,
    grants: [
      {
        id: to.grant_id,
        grant_type: "purchase",
        tokens_granted: 100,
        priority: 50,
        pays_for: null,
        starts_at: to.granted_at,
        expires_at: to.expires_at,
        transaction_id: 1,
      },
    ],
  });
  await expectCleanLedger();

  await letTimePass(db, user, 11);
  const counted = { active: 100, grants: [to.grant_id], may: true, sufficient: true };
  expect(await looks()).toEqual({ ...counted, payers: [to.grant_id], counter: 100 });
  expect(await server("list_upcoming_token_grants")).toMatchObject({ grants: [] });
  expect(await spend(40)).toMatchObject({
    success: true,
    tokens_remaining: 60,
    deducted_from: [{ grant_id: to.grant_id, deducted: 40 }],
  });
  expect(await entries()).toEqual([
    {
      entry_type: "usage",
      action_type: "upcoming_grant",
      tokens: 0,
      balance_after: 0,
      actor_role: "service",
      reason: "a promise",
      original_id: null,
    },
    {
      entry_type: "grant",
      action_type: "token_pack_purchase",
      tokens: 100,
      balance_after: 100,
      actor_role: "system",
      reason: "a promise",
      original_id: 1,
    },
    expect.objectContaining({ entry_type: "deduction", tokens: -40 }),
  ]);
  await expectCleanLedger();
});

test("its place in the queue and its lifetime are from its moment on", async () => {
  user = await createUser(db);
  const to = await promise({ p_expires_at: null, p_grant_type: "28day" });
  expect(Date.parse(to.expires_at) - Date.parse(to.granted_at)).toBe(90 * DAY);
  await letTimePass(db, user, 9);
  const older = await grant(db, user, 50, { expires_in: "90 days" }); // of tomorrow's day before
  await letTimePass(db, user, 2);
  const younger = await grant(db, user, 50);
  expect((await spend(160)).deducted_from).toMatchObject([
    { grant_id: older, deducted: 50 },
    { grant_id: to.grant_id, deducted: 100 },
    { grant_id: younger, deducted: 10 },
  ]);
  const { rows } = await db.admin.query(
    "select count(*)::int as wrong from public.replay_token_balances($1) where difference <> 0",
    [user],
  );
  expect(rows[0].wrong).toBe(0);
  await expectCleanLedger();
});

test("one that began and ran out without any call in between is given and lost", async () => {
  user = await createUser(db);
  await promise({ p_expires_at: inDays(12) });
  await letTimePass(db, user, 20);
  expect((await looks()).active).toBe(0);
  expect((await spend(1)).success).toBe(false);
  expect(await server("get_user_token_balance")).toMatchObject({ total_active: 0, total_expired: 100 });
  expect((await entries()).map((entry) => entry.entry_type)).toEqual(["usage", "grant", "expiry"]);
  await expectCleanLedger();
});

test("one key, one effect, also after it began; another moment under the key is refused", async () => {
  user = await createUser(db);
  const asked = { p_starts_at: inDays(10), p_idempotency_key: "a-promise", p_metadata: { case: 7 } };
  const first = await promise(asked);
  await promise({ p_starts_at: inDays(12) });
  expect(await promise(asked)).toEqual({ ...first, replayed: true });
  for (const other of [{ p_starts_at: inDays(11) }, { p_starts_at: null }])
    await expect(promise({ ...asked, ...other })).rejects.toMatchObject({
      message: "idempotency_key_reused",
      detail: expect.stringContaining("starts_at"),
    });
  // with the clock set forwards instead of the past moved, the request stays as it was asked
  await db.admin.query("update tokenbook.upcoming_grants set starts_at = starts_at where user_id = $1", [
    user,
  ]);
  const own = await createDatabase();
  try {
    const setClock = await takeTheClock(own);
    user = await createUser(own);
    const said = await promise(asked, own);
    await setClock(inDays(11));
    expect((await spend(10, own)).success).toBe(true);
    expect(await promise(asked, own)).toEqual({ ...said, replayed: true });
    expect(await server("get_user_token_balance", {}, own)).toMatchObject({
      total_active: 90,
      grants: [{ id: said.grant_id }],
    });
  } finally {
    await own.drop();
  }
});

test("it is called off, and does not come; a retry is told so again", async () => {
  user = await createUser(db);
  const to = await promise();
  const kept = await promise({ p_tokens: 7 });
  const off = { p_grant_id: to.grant_id, p_reason: "a mistake", p_idempotency_key: "off" };
  const first = await server("void_token_grant", off);
  expect(first).toMatchObject({
    success: true,
    tokens_voided: 0,
    tokens_owed: 0,
    transaction_id: 3,
    replayed: false,
  });
  expect(await server("void_token_grant", off)).toEqual({ ...first, replayed: true });
  await expect(server("void_token_grant", { p_grant_id: to.grant_id })).rejects.toMatchObject({
    message: "grant_not_found",
  });
  expect((await server("list_upcoming_token_grants")).grants).toMatchObject([{ id: kept.grant_id }]);
  await letTimePass(db, user, 11);
  expect(await server("get_user_token_balance")).toMatchObject({ total_active: 7 });
  expect((await entries())[2]).toMatchObject({ entry_type: "void", tokens: 0, original_id: 1 });
  await expectCleanLedger();
});

test("it pays for what it may and nothing else, booked or not", async () => {
  user = await createUser(db);
  const own = await promise({ p_pays_for: { actions: ["image_generation"] } });
  expect((await server("list_upcoming_token_grants")).grants).toMatchObject([
    { id: own.grant_id, pays_for: { actions: ["image_generation"] } },
  ]);
  await grant(db, user, 5);
  await spend(1); // takes no note back of a grant that is still to come
  await letTimePass(db, user, 11);
  expect(await looks()).toMatchObject({ active: 104, sufficient: false });
  expect(await spend(50)).toMatchObject({ success: false, tokens_remaining: 104 });
  expect(
    await server("deduct_tokens_with_fifo", { p_tokens_to_deduct: 50, p_action_type: "image_generation" }),
  ).toMatchObject({ success: true, tokens_remaining: 54 });
  await expectCleanLedger();
});

test("what an admin promised is in their name, and in the audit trail once it begins", async () => {
  user = await createUser(db);
  const admin = await createUser(db, { admin: true });
  await asAdmin(db, admin, (client) =>
    rpc(client, "grant_tokens", {
      p_user_id: user,
      p_tokens: 30,
      p_starts_at: inDays(10),
      p_reason: "sorry",
    }),
  );
  const trail = async () =>
    (
      await db.admin.query(
        "select action_type, tokens_used::int, transaction_id::int, metadata ->> 'reason' as reason from public.token_usage where user_id = $1",
        [user],
      )
    ).rows;
  expect(await trail()).toEqual([]);
  expect(await entries()).toMatchObject([{ actor_role: "admin", reason: "sorry" }]);
  await letTimePass(db, user, 11);
  await server("get_user_token_balance");
  expect(await trail()).toEqual([
    { action_type: "admin_grant", tokens_used: 30, transaction_id: 2, reason: "sorry" },
  ]);
  expect(await server("reconcile_user_token_balance")).toMatchObject({
    remaining_difference: 0,
    findings: [],
  });
  await expectCleanLedger();
});

test("of a frozen account it begins, and nothing of it is spent; its time runs", async () => {
  user = await createUser(db);
  await promise({ p_expires_at: inDays(30) });
  await server("set_token_account_state", { p_state: "frozen", p_reason: "a test" });
  await letTimePass(db, user, 11);
  expect(await looks()).toMatchObject({ active: 100, may: false, sufficient: false });
  await asService(db, (client) => rpc(client, "expire_old_token_grants"));
  expect((await entries()).map((entry) => entry.entry_type)).toEqual(["usage", "grant"]);
  await expect(spend(1)).rejects.toMatchObject({ message: "account_frozen" });
  await server("set_token_account_state", { p_state: "active", p_reason: "a test" });
  expect((await spend(1)).success).toBe(true);
  await expectCleanLedger();
});

test("it repays a debt first; the plan limit is no lower than the balance", async () => {
  user = await createUser(db);
  await server("change_token_plan", { p_plan_type: "starter" });
  const mistake = await grant(db, user, 500);
  const { total_active: all } = await server("get_user_token_balance");
  await spend(all);
  await server("void_token_grant", { p_grant_id: mistake, p_take_back: true });
  await promise({ p_tokens: all + 1_000 });
  await letTimePass(db, user, 11);
  expect((await looks()).active).toBe(all + 500);
  expect(await server("get_user_token_balance")).toMatchObject({
    total_active: all + 500,
    total_owed: 0,
    tokens_limit: all + 500,
  });
  await expectCleanLedger();
});

test("several begin at once, among grants and holds that run out", async () => {
  user = await createUser(db);
  await server("change_token_plan", { p_plan_type: "starter" });
  await grant(db, user, 60, { expires_in: "9 days" });
  await server("reserve_tokens", { p_tokens: 20 });
  for (const days of [5, 10, 10, 15])
    await promise({ p_starts_at: inDays(days), p_expires_at: inDays(days + 3) });
  await letTimePass(db, user, 11);
  const { active } = await looks();
  expect(await server("get_user_token_balance")).toMatchObject({
    total_active: active,
    total_reserved: 0,
    total_expired: 160,
  });
  await expectCleanLedger();
});

test("beside the slots of a plan: what is looked at is what is booked, and the plan limit is the balance", async () => {
  await asService(db, (client) =>
    rpc(client, "set_token_plan", {
      p_plan_type: "weekly",
      p_plan: { name: "weekly", tokens: 40, issue_every: "week", refill_to: 100 },
      p_reason: "a test",
    }),
  );
  user = await createUser(db);
  await server("change_token_plan", { p_plan_type: "weekly" });
  await spend(25);
  await promise({ p_expires_at: inDays(12) });
  await promise();
  for (const days of [8, 3, 10]) {
    await letTimePass(db, user, days);
    const { active, grants } = await looks();
    expect(await server("get_user_token_balance")).toMatchObject({
      total_active: active,
      tokens_limit: active,
      grants: grants.map((id: string) => ({ id })),
    });
    await expectCleanLedger();
  }
});

test("a plan that a first call would begin is not given beside it, before its moment or after", async () => {
  await db.admin.query(
    "update public.token_plans set is_default = plan_type = 'starter', given_to_users_since = '-infinity'",
  );
  try {
    user = await createUser(db);
    await db.admin.query("delete from public.token_balances where user_id = $1", [user]);
    await db.admin.query("alter table public.token_transactions disable trigger user");
    for (const table of ["public.token_transactions", "public.token_accounts", "tokenbook.subscriptions"])
      await db.admin.query(`delete from ${table} where user_id = $1`, [user]);
    await db.admin.query("alter table public.token_transactions enable trigger user");
    await promise();
    expect(await looks()).toMatchObject({ active: 0, may: false });
    expect(await server("get_user_token_balance")).toMatchObject({ total_active: 0 });
    await letTimePass(db, user, 11);
    expect(await looks()).toMatchObject({ active: 100, may: true });
    expect(await server("get_user_token_balance")).toMatchObject({ total_active: 100 });
  } finally {
    await db.admin.query("update public.token_plans set is_default = false");
  }
});

test("a user has at most a hundred to come", async () => {
  user = await createUser(db);
  for (let nth = 0; nth < 100; nth += 1) await promise({ p_tokens: 1, p_expires_at: inDays(11) });
  await expect(promise({ p_tokens: 1 })).rejects.toMatchObject({
    message: "too_many_upcoming_grants",
    detail: '{"limit": 100}',
  });
  await letTimePass(db, user, 20);
  expect((await spend(1)).success).toBe(false); // a hundred begin and run out in one call
  expect(await server("get_user_token_balance")).toMatchObject({ total_expired: 100 });
  expect((await promise({ p_tokens: 1 })).success).toBe(true);
  await expectCleanLedger();
});

test("what the account cannot hold when it begins is called off, and nobody is locked out", async () => {
  user = await createUser(db);
  await grant(db, user, 10);
  const to = await promise();
  await db.admin.query(
    "update public.token_accounts set tokens_used = 9007199254740991 - 60 where user_id = $1",
    [user],
  );
  await letTimePass(db, user, 11);
  expect((await looks()).active).toBe(10);
  expect((await spend(1)).success).toBe(true);
  expect(await server("get_user_token_balance")).toMatchObject({ total_active: 9 });
  expect((await entries()).slice(2, 3)).toEqual([
    expect.objectContaining({
      entry_type: "void",
      actor_role: "system",
      reason: "the account cannot hold more tokens",
      original_id: 2,
    }),
  ]);
  const { rows } = await db.admin.query(
    "select terms ->> 'voids' as id from public.token_transactions where user_id = $1 and id = 3",
    [user],
  );
  expect(rows).toEqual([{ id: to.grant_id }]);
  await db.admin.query("update public.token_accounts set tokens_used = 1 where user_id = $1", [user]);
  await expectCleanLedger();
});

test("a webhook tells of it when it begins, as of any grant", async () => {
  user = await createUser(db);
  await asService(db, (client) =>
    rpc(client, "set_token_webhook_endpoint", {
      p_name: "all",
      p_url: "https://example.com/hook",
      p_kinds: ["token_grant.made"],
    }),
  );
  const to = await promise();
  const told = async () =>
    (
      await db.admin.query("select payload as data from tokenbook.webhook_deliveries where user_id = $1", [
        user,
      ])
    ).rows;
  expect(await told()).toEqual([]);
  await letTimePass(db, user, 11);
  await server("get_user_token_balance");
  expect(await told()).toMatchObject([
    { data: { grant_id: to.grant_id, tokens: 100, grant_type: "purchase" } },
  ]);
});

describe("it is refused", () => {
  test.each([
    ["in the past", { p_starts_at: "2020-01-01T00:00:00Z" }, "invalid_starts_at"],
    ["never", { p_starts_at: "infinity" }, "invalid_starts_at"],
    ["always", { p_starts_at: "-infinity" }, "invalid_starts_at"],
    ["in more than ten years", { p_starts_at: "2199-01-01T00:00:00Z" }, "invalid_starts_at"],
    ["when it was given before", { p_granted_at: "2020-01-01T00:00:00Z" }, "invalid_starts_at"],
    ["when it has run out before it begins", { p_expires_at: inDays(9) }, "invalid_expiry"],
    [
      "when it never ends, of a type that must",
      { p_grant_type: "trial", p_expires_at: "infinity" },
      "invalid_expiry",
    ],
  ])("%s", async (_, args, error) => {
    user = await createUser(db);
    await expect(promise(args)).rejects.toMatchObject({ message: error });
    expect(await entries()).toEqual([]);
  });

  test("to users; they see their own, and nobody else's", async () => {
    user = await createUser(db);
    const stranger = await createUser(db);
    const { grant_id: id } = await promise();
    await expect(
      asUser(db, user, (client) =>
        rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 1, p_starts_at: inDays(1) }),
      ),
    ).rejects.toMatchObject({ message: "forbidden" });
    expect(await asUser(db, user, (client) => rpc(client, "list_upcoming_token_grants"))).toMatchObject({
      grants: [{ id }],
    });
    await expect(
      asUser(db, stranger, (client) => rpc(client, "list_upcoming_token_grants", { p_user_id: user })),
    ).rejects.toMatchObject({ message: "forbidden" });
  });
});

describe("the past", () => {
  const past = async (mutant?: string) => {
    const own = await createDatabase();
    try {
      if (mutant !== undefined) await applyMutant(own, mutant);
      user = await createUser(own);
      await grant(own, user, 5);
      await promise({}, own);
      const gone = await promise({}, own);
      await server("void_token_grant", { p_grant_id: gone.grant_id }, own);
      await promise({ p_expires_at: inDays(12) }, own);
      await letTimePass(own, user, 20);
      const at = async () => {
        const seen = [];
        for (const days of [-11, -9, -1]) {
          const then = await server("get_token_balance_as_of", { p_at: inDays(days) }, own);
          seen.push([then.total_active, then.total_expired]);
        }
        return seen;
      };
      const before = await at();
      await server("get_user_token_balance", {}, own); // books them
      return { before, after: await at() };
    } finally {
      await own.drop();
    }
  };

  test("knows what had begun by then, whether it was booked", async () => {
    const seen = [
      [5, 0],
      [205, 0],
      [105, 100],
    ];
    // once it is booked, what was looked back at is what had been booked by then
    expect(await past()).toEqual({ before: seen, after: seen });
  });

  test("the test sees who forgets it", { tags: ["proof"] }, async () => {
    expect((await past("the-past-knows-no-beginnings")).before).toEqual([
      [5, 0],
      [5, 0],
      [5, 0],
    ]);
  });
});

describe("the tests see", { tags: ["proof"] }, () => {
  /** Of 5 tokens that run out in a day and 100 of a grant to come: what counts, after so many days. */
  const after = async (days: number, mutant: string) => {
    const own = await createDatabase();
    try {
      await applyMutant(own, mutant);
      user = await createUser(own);
      await grant(own, user, 5, { expires_in: "1 day" });
      await promise({}, own);
      await letTimePass(own, user, days);
      const seen = await looks(own);
      const spent = await spend(1, own).catch((error: Error) => ({ success: error.message }));
      const { rows } = await own.admin.query("select invariant from public.verify_token_ledger($1)", [user]);
      return { active: seen.active, spent: spent.success, breaches: rows.map((row) => row.invariant) };
    } finally {
      await own.drop();
    }
  };

  test("a grant that is spendable before its moment", async () => {
    expect(await after(2, "grants-begin-before-their-moment")).toMatchObject({
      active: 100,
      spent: true,
      breaches: expect.arrayContaining(["I4 what came of a grant to come is what was said"]),
    });
  });

  test("one that is due and that reads do not count", async () => {
    expect(await after(11, "reads-forget-what-was-to-begin")).toMatchObject({
      active: 0,
      spent: false,
      breaches: [],
    });
  });

  test("one that is forgotten when something else is booked", async () => {
    const own = await createDatabase();
    try {
      await applyMutant(own, "grants-to-come-are-forgotten");
      user = await createUser(own);
      await grant(own, user, 5, { expires_in: "1 day" });
      await promise({}, own);
      await letTimePass(own, user, 2);
      await server("get_user_token_balance", {}, own);
      const { rows } = await own.admin.query("select invariant from public.verify_token_ledger($1)", [user]);
      expect(rows).toEqual([{ invariant: "I7 the account is due no later than its next grant to come" }]);
      await letTimePass(own, user, 9);
      expect((await looks(own)).active).toBe(0);
    } finally {
      await own.drop();
    }
  });

  test("a hundred and one to come", async () => {
    const own = await createDatabase();
    try {
      await applyMutant(own, "grants-to-come-without-a-bound");
      user = await createUser(own);
      for (let nth = 0; nth < 101; nth += 1) await promise({ p_tokens: 1 }, own);
      expect((await server("list_upcoming_token_grants", {}, own)).grants).toHaveLength(101);
    } finally {
      await own.drop();
    }
  });

  test("one that the account does not know to be due", async () => {
    expect(await after(0, "grants-to-come-are-never-due")).toMatchObject({
      breaches: [], // the grant that runs out tomorrow is due before
    });
    expect((await after(2, "grants-to-come-are-never-due")).spent).toBe(false);
  });
});

describe("the first grant, due and not booked, counts when more is asked for than it has", () => {
  const late = async () => {
    user = await createUser(db);
    await promise({ p_tokens: 33 });
    await letTimePass(db, user, 11);
  };
  test("short", async () => {
    await late();
    expect(await spend(40)).toMatchObject({
      success: false,
      tokens_remaining: 33,
      tokens_remaining_to_deduct: 7,
    });
    await expectCleanLedger();
  });
  test("in part", async () => {
    await late();
    const use = await server("track_token_usage", {
      p_action_type: "chat_conversation",
      p_tokens_used: 40,
      p_on_shortage: "partial",
    });
    expect(use).toMatchObject({ tokens_deducted: 33, tokens_remaining_to_deduct: 7, tokens_remaining: 0 });
    await expectCleanLedger();
  });
});

test("one that has begun and is not booked is voided as any grant is", async () => {
  user = await createUser(db);
  const { grant_id } = await promise({ p_tokens: 33, p_expires_at: inDays(40) });
  await letTimePass(db, user, 11);
  expect(await server("void_token_grant", { p_grant_id: grant_id })).toMatchObject({ tokens_voided: 33 });
  await expectCleanLedger();
});

test("the test sees it: voids-what-was-to-come", { tags: ["proof"] }, async () => {
  const own = await createDatabase();
  await applyMutant(own, "voids-what-was-to-come");
  user = await createUser(own);
  const { grant_id } = await promise({ p_tokens: 33, p_expires_at: inDays(40) }, own);
  await letTimePass(own, user, 11);
  await server("void_token_grant", { p_grant_id: grant_id }, own);
  const { rows } = await own.admin.query("select invariant from public.verify_token_ledger()");
  expect(rows).toEqual([{ invariant: "I4 a grant is voided by its entry" }]);
  await own.drop();
});

test("the entry that promised a grant is not undone when the grant begins", async () => {
  user = await createUser(db);
  const { transaction_id } = await promise();
  await letTimePass(db, user, 11);
  await spend(1);
  expect(await server("explain_token_charge", { p_transaction_id: transaction_id })).toMatchObject({
    undone_by: [],
    tokens_net: 0,
  });
});

/** As `expectCleanBooks`, and what the verifier says of this user. */
async function expectCleanLedger(of = db): Promise<void> {
  const { rows } = await of.admin.query("select * from public.verify_token_ledger($1)", [user]);
  expect(rows).toEqual([]);
  if (of === db && rows.length === 0) await expectCleanBooks(of);
}

test("one that began and ran out before a plan ended is booked at the moment of the plan's end", async () => {
  user = await createUser(db);
  await server("change_token_plan", { p_plan_type: "starter" });
  await promise({ p_expires_at: inDays(11) });
  await server("change_token_plan", { p_plan_type: "free" });
  await letTimePass(db, user, 32);
  await server("get_user_token_balance");

  const { rows } = await db.admin.query(
    `select count(*)::int as entries, count(distinct created_at)::int as moments from public.token_transactions
      where user_id = $1 and actor_role = 'system' and created_at > now() - interval '1 hour'`,
    [user],
  );
  expect(rows).toEqual([{ entries: 3, moments: 1 }]);
  await expectCleanBooks(db);
});
