import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { connectAsServer } from "../support/storm.ts";
import { letTimePass } from "../support/time.ts";
import { dispute, told } from "../support/provider-events.ts";

let db: Database;
let user: string;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
});
beforeEach(async () => {
  user = await createUser(db);
  await grant(db, user, 1_000);
});
afterAll(() => db.drop());

const server = (name: string, args: Record<string, unknown> = {}, on = db) =>
  asService(on, (client) => rpc(client, name, { p_user_id: user, ...args }));
const theUser = (name: string, args: Record<string, unknown> = {}) =>
  asUser(db, user, (client) => rpc(client, name, { p_user_id: user, ...args }));
const setState = (state: string, of = user, on = db) =>
  asService(on, (client) =>
    rpc(client, "set_token_account_state", { p_user_id: of, p_state: state, p_reason: "chargebacks" }),
  );
const FROZEN = { code: "PT403", message: "account_frozen" };

describe("who freezes, when and why", () => {
  test("an admin does, with a reason; it is kept, and so is the way back", async () => {
    const ask = (state: string, reason: string) =>
      asAdmin(db, admin, (client) =>
        rpc(client, "set_token_account_state", { p_user_id: user, p_state: state, p_reason: reason }),
      );
    expect(await ask("frozen", "chargebacks")).toMatchObject({
      success: true,
      user_id: user,
      state: "frozen",
      reason: "chargebacks",
      actor_role: "admin",
      actor_id: admin,
      changed_at: expect.any(String),
      replayed: false,
    });
    await ask("active", "the bank was wrong");

    const { changes } = await asAdmin(db, admin, (client) =>
      rpc(client, "list_token_changes", { p_user_id: user }),
    );
    expect(changes).toMatchObject([
      {
        change: "set_token_account_state",
        actor_role: "admin",
        actor_id: admin,
        reason: "the bank was wrong",
        details: { state: "active" },
      },
      { reason: "chargebacks", details: { state: "frozen" } },
    ]);
  });

  test("the same state again changes nothing and answers who set it", async () => {
    const first = await setState("frozen");
    const again = await asAdmin(db, admin, (client) =>
      rpc(client, "set_token_account_state", { p_user_id: user, p_state: "frozen", p_reason: "again" }),
    );
    expect(again).toEqual({ ...first, replayed: true });
    expect((await server("list_token_changes")).changes).toHaveLength(1);
  });

  test("a user who was never frozen is active, and setting active leaves no row", async () => {
    const nobodyYet = await createUser(db);
    expect(await setState("active", nobodyYet)).toMatchObject({
      state: "active",
      reason: null,
      actor_role: null,
      replayed: true,
    });
    const { rowCount } = await db.admin.query("select from public.token_accounts where user_id = $1", [
      nobodyYet,
    ]);
    expect(rowCount).toBe(0);
  });

  test.each([
    [{ p_state: "closed", p_reason: "x" }, "invalid_state"],
    [{ p_state: null, p_reason: "x" }, "invalid_state"],
    [{ p_state: "frozen", p_reason: null }, "invalid_reason"],
    [{ p_state: "frozen", p_reason: "  " }, "invalid_reason"],
    [{ p_state: "frozen", p_reason: "x", p_user_id: null }, "invalid_user_id"],
    [
      { p_state: "frozen", p_reason: "x", p_user_id: "00000000-0000-4000-8000-00000000dead" },
      "user_not_found",
    ],
  ])("%j is refused with %s", async (args, slug) => {
    await expect(server("set_token_account_state", args)).rejects.toMatchObject({ message: slug });
  });

  test("users set no state, not even their own, and read nobody's changes", async () => {
    for (const [name, args] of [
      ["set_token_account_state", { p_state: "active", p_reason: "please" }],
      ["list_token_changes", {}],
    ] as const)
      await expect(theUser(name, args)).rejects.toMatchObject({ code: "42501", message: "forbidden" });
  });

  test("changes come in pages, and nobody changes them afterwards", async () => {
    for (const state of ["frozen", "active", "frozen"]) await setState(state);
    const page = await server("list_token_changes", { p_limit: 2 });
    expect(page.changes).toHaveLength(2);
    const rest = await server("list_token_changes", { p_limit: 2, p_before: page.next_before });
    expect(rest).toMatchObject({ changes: [{ details: { state: "frozen" } }], next_before: null });
    await expect(
      db.admin.query("update tokenbook.changes set reason = 'x' where true"),
    ).rejects.toMatchObject({
      message: "ledger_is_append_only",
    });
  });
});

describe("what stops", () => {
  const stops: [name: string, args: Record<string, unknown>][] = [
    ["deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 }],
    ["track_token_usage", { p_action_type: "chat", p_tokens_used: 1 }],
    ["reserve_tokens", { p_tokens: 1 }],
    ["create_token_payment", { p_to_plan: "starter" }],
    ["set_token_top_up", { p_below_tokens: 5, p_tokens: 5 }],
  ];
  test.each(stops)("%s, by every caller", async (name, args) => {
    await setState("frozen");
    await expect(theUser(name, args)).rejects.toMatchObject(FROZEN);
    await expect(server(name, args)).rejects.toMatchObject(FROZEN);
    await expect(
      asAdmin(db, admin, (client) => rpc(client, name, { p_user_id: user, ...args })),
    ).rejects.toMatchObject(FROZEN);
    expect(await theUser("get_user_token_balance")).toMatchObject({ state: "frozen", total_active: 1_000 });

    await setState("active");
    expect(await theUser(name, args)).toMatchObject({ success: true });
    await expectCleanBooks(db);
  });

  test("a change of plan, unless it names the payment that was made for it", async () => {
    await setState("frozen");
    await expect(server("change_token_plan", { p_plan_type: "starter" })).rejects.toMatchObject(FROZEN);
    expect(await server("change_token_plan", { p_plan_type: "starter", p_payment_id: "pi_1" })).toMatchObject(
      { success: true, tokens_granted: 400_000 },
    );
  });

  test("an item of a batch, by itself", async () => {
    const other = await createUser(db);
    await grant(db, other, 10);
    await setState("frozen");
    const { results, failed, deducted } = await asService(db, (client) =>
      rpc(client, "deduct_tokens_batch", {
        p_items: [user, other].map((user_id) => ({ user_id, tokens: 1 })),
      }),
    );
    expect({ failed, deducted }).toEqual({ failed: 1, deducted: 1 });
    expect(results[0]).toMatchObject({ success: false, error: { code: "account_frozen" } });
  });

  test("the initial plan of a user who never had a grant", async () => {
    const fresh = await createUser(db);
    await db.admin.query(
      "update public.token_plans set is_default = true, given_to_users_since = '-infinity' where plan_type = 'free'",
    );
    await setState("frozen", fresh);
    const balance = () =>
      asUser(db, fresh, (client) => rpc(client, "get_user_token_balance", { p_user_id: fresh }));
    expect(await balance()).toMatchObject({ state: "frozen", total_active: 0 });
    await setState("active", fresh);
    expect(await balance()).toMatchObject({ state: "active", total_active: 10_000 });
    await db.admin.query("update public.token_plans set is_default = false where is_default");
  });

  test("top-ups: no request is written until the account is active, and then at once", async () => {
    await theUser("set_token_top_up", { p_below_tokens: 500, p_tokens: 5_000 });
    await setState("frozen");
    await server("adjust_tokens", { p_delta: -900, p_reason: "correction" });
    const requests = async () =>
      (await db.admin.query("select from public.token_top_up_requests where user_id = $1", [user])).rowCount;
    expect(await requests()).toBe(0);
    await setState("active");
    expect(await requests()).toBe(1);
  });

  test("a key that was refused is not used up; one that was used answers as before", async () => {
    const spend = (key: string) =>
      theUser("deduct_tokens_with_fifo", { p_tokens_to_deduct: 3, p_idempotency_key: key });
    const before = await spend("before");
    await setState("frozen");
    await expect(spend("meanwhile")).rejects.toMatchObject(FROZEN);
    expect(await spend("before")).toEqual({ ...before, replayed: true });
    await setState("active");
    expect(await spend("meanwhile")).toMatchObject({ success: true, replayed: false });
  });

  test("a quote says that it would not do", async () => {
    const quote = () => theUser("estimate_tokens", { p_action_type: "chat", p_tokens_used: 1 });
    expect(await quote()).toMatchObject({ state: "active", sufficient: true });
    await setState("frozen");
    expect(await quote()).toMatchObject({ state: "frozen", sufficient: false });
  });
});

describe("what goes on", () => {
  test("a use that has happened is not lost: partial records it as uncovered, and a failed one is recorded", async () => {
    await setState("frozen");
    const use = (args: object) => theUser("track_token_usage", { p_action_type: "chat", ...args });
    expect(await use({ p_tokens_used: 7, p_on_shortage: "partial" })).toMatchObject({
      success: true,
      tokens_deducted: 0,
      tokens_remaining_to_deduct: 7,
      tokens_remaining: 1_000,
    });
    expect(await use({ p_tokens_used: 7, p_success: false })).toMatchObject({ success: true });
    const { rows } = await db.admin.query(
      "select tokens_used::int as used, tokens_uncovered::int as uncovered, success from public.token_usage where user_id = $1 order by created_at",
      [user],
    );
    expect(rows).toEqual([
      { used: 7, uncovered: 7, success: true },
      { used: 7, uncovered: 0, success: false },
    ]);
    await expectCleanBooks(db);
  });

  test("captures up to what was held, and releases", async () => {
    const [paid, back] = [
      await theUser("reserve_tokens", { p_tokens: 30 }),
      await theUser("reserve_tokens", { p_tokens: 20 }),
    ];
    await setState("frozen");
    expect(await theUser("capture_tokens", { p_hold_id: paid.hold_id, p_tokens: 25 })).toMatchObject({
      success: true,
      tokens_captured: 25,
    });
    expect(await theUser("release_tokens", { p_hold_id: back.hold_id })).toMatchObject({ success: true });
    expect(await theUser("get_user_token_balance")).toMatchObject({ total_active: 975, total_reserved: 0 });
  });

  /** What a capture of 45 tokens of a hold of 30 comes to on a frozen account. */
  async function captureBeyond(how: string, on = db): Promise<Record<string, unknown>> {
    const of = await createUser(on);
    await grant(on, of, 100);
    const { hold_id } = await server("reserve_tokens", { p_user_id: of, p_tokens: 30 }, on);
    await setState("frozen", of, on);
    const args = { p_user_id: of, p_hold_id: hold_id, p_tokens: 45, p_over_capture: how };
    return await server("capture_tokens", args, on);
  }

  test("beyond it nothing: what is not covered is recorded, and nothing new is spent", async () => {
    await expect(captureBeyond("deduct")).rejects.toMatchObject(FROZEN);
    for (const how of ["partial", "cap"])
      expect(await captureBeyond(how)).toMatchObject({ tokens_deducted: 30, tokens_remaining_to_deduct: 15 });
  });

  test("the test sees it: what goes beyond a hold is spent", async () => {
    const own = await createDatabase();
    await applyMutant(own, "frozen-accounts-pay-beyond-holds");
    expect(await captureBeyond("deduct", own)).toMatchObject({ tokens_deducted: 45 });
    await own.drop();
  });

  test("refunds, grants, corrections, voids and expiry", async () => {
    const spent = await theUser("deduct_tokens_with_fifo", { p_tokens_to_deduct: 100 });
    await grant(db, user, 10, { expires_in: "1 hour" });
    const mistake = await grant(db, user, 40);
    await setState("frozen");
    const operations: [string, object][] = [
      ["refund_tokens", { p_transaction_id: spent.transaction_id }],
      ["grant_tokens", { p_tokens: 5 }],
      ["grant_tokens", { p_tokens: 5, p_starts_at: new Date(Date.now() + 86_400_000).toISOString() }],
      ["adjust_tokens", { p_delta: -1 }],
      ["adjust_tokens", { p_delta: 1 }],
      ["set_token_grant_expiry", { p_grant_id: mistake, p_expires_at: "2999-01-01", p_reason: "a test" }],
      ["void_token_grant", { p_grant_id: mistake }],
      ["restate_token_balances", { p_reason: "exact" }],
    ];
    for (const [name, args] of operations)
      expect(await server(name, args as Record<string, unknown>), name).toMatchObject({ success: true });
    await letTimePass(db, user, 0.1);
    await asService(db, (client) => rpc(client, "expire_old_token_grants"));
    expect(await theUser("get_user_token_balance")).toMatchObject({ total_active: 1_005, total_expired: 10 });
    await expectCleanBooks(db);
  });

  test("money that came: a provider's payment and an approval give their tokens, a dispute takes them back", async () => {
    const asked = await theUser("create_token_payment", { p_to_plan: "starter" });
    await setState("frozen");
    const event = (kind: string, facts: Record<string, unknown>) =>
      asService(db, (client) =>
        rpc(client, "record_token_payment_event", {
          p_provider: "stripe",
          p_event_id: `evt_${kind}_${user}`,
          p_event_type: kind,
          p_provider_payment_id: `pi_${user}`,
          p_facts: told(facts),
        }),
      );
    expect(
      await event("paid", {
        kind: "paid",
        user_id: user,
        plan_type: "starter",
        amount_cents: 900,
        currency: "usd",
      }),
    ).toMatchObject({ status: "approved", tokens_granted: 400_000 });
    expect(await event("disputed", dispute("open"))).toMatchObject({ tokens_clawed_back: 400_000 });
    expect(await server("approve_token_payment", { p_payment_id: asked.payment_id })).toMatchObject({
      success: true,
      tokens_granted: 400_000,
    });
  });

  test("switching a top-up off", async () => {
    await theUser("set_token_top_up", { p_below_tokens: 5, p_tokens: 5 });
    await setState("frozen");
    expect(await theUser("set_token_top_up", { p_is_enabled: false })).toMatchObject({ is_enabled: false });
  });
});

describe("in a team", () => {
  /** A payer with tokens and a member of theirs, in a database of its own where one is named. */
  async function team(on = db): Promise<{ payer: string; member: string }> {
    const [payer, member] = [await createUser(on), await createUser(on)];
    await grant(on, payer, 100);
    await asService(on, (client) =>
      rpc(client, "add_token_team_member", { p_user_id: payer, p_member_id: member }),
    );
    return { payer, member };
  }
  const spendAs = (who: string, on = db) =>
    asUser(on, who, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: who, p_tokens_to_deduct: 1 }),
    );
  const stateOf = async (who: string) =>
    (await asUser(db, who, (client) => rpc(client, "get_user_token_balance", { p_user_id: who }))).state;

  test("a frozen payer stops everybody in it", async () => {
    const { payer, member } = await team();
    await setState("frozen", payer);
    await expect(spendAs(member)).rejects.toMatchObject(FROZEN);
    await expect(spendAs(payer)).rejects.toMatchObject(FROZEN);
    expect([await stateOf(member), await stateOf(payer)]).toEqual(["frozen", "frozen"]);
  });

  test("a frozen member is stopped, and nobody else", async () => {
    const { payer, member } = await team();
    await setState("frozen", member);
    await expect(spendAs(member)).rejects.toMatchObject(FROZEN);
    expect(await spendAs(payer)).toMatchObject({ success: true });
    expect([await stateOf(member), await stateOf(payer)]).toEqual(["frozen", "active"]);
    await setState("active", member);
    expect(await spendAs(member)).toMatchObject({ success: true });
  });

  /** Whether a member is frozen while a hold of theirs is still being made. */
  async function freezesUnderway(variant?: string): Promise<boolean> {
    const own = await createDatabase();
    if (variant !== undefined) await applyMutant(own, variant);
    const { member } = await team(own);
    const [other, spender] = [await connectAsServer(own), await connectAsServer(own)];
    // who has written before does not stand in the member's own queue, while somebody else is in it
    await other.query("begin");
    await other.query("select pg_advisory_xact_lock(uuid_hash_extended($1, 0))", [member]);
    await spender.query("begin");
    await spender.query("select pg_current_xact_id()");
    await spender.query("select public.reserve_tokens($1, 1)", [member]);
    await other.end();
    let isFrozen = false;
    const freezing = setState("frozen", member, own).then(() => (isFrozen = true));
    await new Promise((go) => setTimeout(go, 400));
    const wasFrozen = isFrozen;
    await spender.query("commit");
    await freezing;
    await spender.end();
    await own.drop();
    return wasFrozen;
  }

  test(
    "once frozen, a user has nothing under way, and neither has a member",
    { tags: ["proof"] },
    async () => {
      expect(await freezesUnderway()).toBe(false);
      expect(await freezesUnderway("freezing-without-the-payers-lock")).toBe(true);
    },
  );
});

describe("the state is looked at under the lock, on every path", () => {
  const ways: Record<string, (client: pgClient, of: string) => Promise<boolean>> = {
    deduction: async (client, of) =>
      (await client.query("select public.deduct_tokens_with_fifo($1, 1) as answer", [of])).rows[0].answer
        .success,
    hold: async (client, of) =>
      (await client.query("select public.reserve_tokens($1, 1) as answer", [of])).rows[0].answer.success,
    usage: async (client, of) =>
      (await client.query("select public.track_token_usage($1, 'chat', p_tokens_used => 1) as answer", [of]))
        .rows[0].answer.success,
    batch: async (client, of) =>
      (
        await client.query("select public.deduct_tokens_batch($1::jsonb) as answer", [
          JSON.stringify([{ user_id: of, tokens: 1 }]),
        ])
      ).rows[0].answer.success,
  };
  type pgClient = Awaited<ReturnType<typeof connectAsServer>>;

  /** By which ways tokens of an account are spent that was frozen while they waited for it, or before they came. */
  async function spent(waits: boolean, variant?: string): Promise<string[]> {
    const own = await createDatabase();
    if (variant !== undefined) await applyMutant(own, variant);
    const found: string[] = [];
    for (const [way, spend] of Object.entries(ways)) {
      const of = await createUser(own);
      await grant(own, of, 100);
      const [freezer, spender] = [await connectAsServer(own), await connectAsServer(own)];
      await freezer.query("begin");
      await freezer.query("select public.set_token_account_state($1, 'frozen', 'x')", [of]);
      if (!waits) await freezer.query("commit");
      const spending = spend(spender, of).catch((error: { message: string }) => {
        expect(error.message).toBe("account_frozen");
        return false;
      });
      if (waits) {
        await new Promise((go) => setTimeout(go, 150));
        await freezer.query("commit");
      }
      if (await spending) found.push(way);
      await Promise.all([freezer.end(), spender.end()]);
    }
    await own.drop();
    return found;
  }

  test("nothing is spent from an account that is frozen, or is frozen while one waits for it", async () => {
    expect(await spent(false)).toEqual([]);
    expect(await spent(true)).toEqual([]);
  });

  test.each([
    ["frozen-looked-at-before-the-lock", true, ["hold", "usage"]],
    ["fast-path-forgets-the-frozen", false, ["deduction", "hold", "usage"]],
    ["batch-forgets-the-frozen", false, ["batch"]],
  ] as const)("the test sees it: %s", { tags: ["proof"] }, async (variant, waits, seen) => {
    expect(await spent(waits, variant)).toEqual(expect.arrayContaining([...seen]));
  });
});

describe("the tests see it", { tags: ["proof"] }, () => {
  test("a member who is frozen and spends", async () => {
    const own = await createDatabase();
    await applyMutant(own, "frozen-members-spend");
    const [payer, member] = [await createUser(own), await createUser(own)];
    await grant(own, payer, 100);
    const ask = (name: string, args: Record<string, unknown>) =>
      asService(own, (client) => rpc(client, name, args));
    await ask("add_token_team_member", { p_user_id: payer, p_member_id: member });
    await setState("frozen", member, own);
    expect(await ask("deduct_tokens_with_fifo", { p_user_id: member, p_tokens_to_deduct: 1 })).toMatchObject({
      success: true,
    });
    await own.drop();
  });

  test("a frozen account that asks for payments, is given a plan, and is topped up", async () => {
    const own = await createDatabase();
    await applyMutant(own, "frozen-begin-anyway");
    const someone = await createUser(own);
    await own.admin.query(
      "update public.token_plans set is_default = true, given_to_users_since = '-infinity' where plan_type = 'free'",
    );
    const ask = (name: string, args: Record<string, unknown> = {}) =>
      asService(own, (client) => rpc(client, name, { p_user_id: someone, ...args }));
    await setState("frozen", someone, own);
    expect(await ask("create_token_payment", { p_to_plan: "starter" })).toMatchObject({ success: true });
    const topUp = await ask("set_token_top_up", { p_below_tokens: 1_000_000, p_tokens: 5 });
    expect(topUp.pending_request_id).toEqual(expect.any(String));
    expect(await ask("get_user_token_balance")).toMatchObject({ state: "frozen", total_active: 10_000 });
    await own.drop();
  });
});
