import type { ClientBase } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let admin: string;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
  user = await createUser(db);
});
afterAll(() => db.drop());

type Fields = Record<string, unknown>;
const server = (name: string, args: Fields, of = db) => asService(of, (client) => rpc(client, name, args));
const setPlan = (plan: string, fields: unknown, of = db) =>
  server("set_token_plan", { p_plan_type: plan, p_plan: fields, p_reason: "a reason" }, of);
const setPack = (pack: string, fields: unknown) =>
  server("set_token_pack", { p_pack_type: pack, p_pack: fields, p_reason: "a reason" });
const catalogue = async () =>
  (
    await db.admin.query(
      `select (select jsonb_agg(p order by p.plan_type) from public.token_plans p) as plans,
              (select jsonb_agg(p order by p.pack_type) from public.token_packs p) as packs`,
    )
  ).rows[0];
const changes = async (name: string) =>
  (
    await db.admin.query(
      "select actor_role, actor_id, reason, details from tokenbook.changes where change = $1 order by id",
      [name],
    )
  ).rows;

describe("a plan", () => {
  test("is made with what is given; the rest is as the table says", async () => {
    expect(await setPlan("team", { name: "Team", tokens: 9_000, price_cents: 4_900 })).toMatchObject({
      success: true,
      plan_type: "team",
      is_new: true,
      plan: {
        name: "Team",
        tokens: 9_000,
        currency: "usd",
        billing_cycle: "none",
        is_offered: true,
        features: {},
      },
    });
  });

  test("is changed in what is given, and in nothing else; the same again changes nothing", async () => {
    const before = await db.admin.query("select * from public.token_plans where plan_type = 'grow'");

    const first = await setPlan("grow", { price_cents: 2_100, articles_limit: null, rank: 21.0 });
    const changed = await changes("set_token_plan");
    const again = await setPlan("grow", { price_cents: 2_100, articles_limit: null });

    expect(first).toMatchObject({ is_new: false, changed: ["articles_limit", "price_cents", "rank"] });
    expect(again).toMatchObject({ is_new: false, changed: [], plan: first.plan });
    const { rows } = await db.admin.query("select * from public.token_plans where plan_type = 'grow'");
    expect(rows).toEqual([
      {
        ...before.rows[0],
        price_cents: "2100",
        articles_limit: null,
        rank: 21,
        updated_at: expect.any(Date),
      },
    ]);
    expect(await changes("set_token_plan")).toEqual(changed);
  });

  test("keeps who changed it, why, and what it said before", async () => {
    await asAdmin(db, admin, (client) =>
      rpc(client, "set_token_plan", {
        p_plan_type: "annual",
        p_plan: { price_cents: 24_900 },
        p_reason: "inflation",
      }),
    );
    expect((await changes("set_token_plan")).at(-1)).toEqual({
      actor_role: "admin",
      actor_id: admin,
      reason: "inflation",
      details: {
        plan_type: "annual",
        is_new: false,
        changed: ["price_cents"],
        before: { price_cents: 19_900 },
        after: { price_cents: 24_900 },
      },
    });
    const listed = await asAdmin(db, admin, (client) => rpc(client, "list_token_changes", { p_limit: 1 }));
    expect(listed.changes).toMatchObject([{ change: "set_token_plan", reason: "inflation" }]);
  });

  test("may change everything but its periods and its type of grants while users are on it", async () => {
    await setPlan("used", { name: "Used", tokens: 1_000, price_cents: 100, billing_cycle: "monthly" });
    const member = await createUser(db);
    await server("change_token_plan", { p_user_id: member, p_plan_type: "used" });
    const inUse = { code: "PT409", message: "plan_in_use" };

    await expect(setPlan("used", { billing_cycle: "annual" })).rejects.toMatchObject({
      ...inUse,
      detail: '{"field": "billing_cycle"}',
    });
    await expect(setPlan("used", { grant_type: "annual", grant_lifetime_days: 365 })).rejects.toMatchObject({
      ...inUse,
      detail: '{"field": "grant_type"}',
    });
    expect(
      await setPlan("used", {
        name: "Used by now",
        tokens: 2_000,
        price_cents: 200,
        billing_cycle: "monthly",
        grant_lifetime_days: 40,
        articles_limit: 3,
        storage_gb: 1,
        rank: 3,
        features: { a: 1 },
        balance_cap: 9_000,
        rollover_percent: 10,
        is_offered: false,
      }),
    ).toMatchObject({ plan: { name: "Used by now", tokens: 2_000 } });
    const { rows } = await db.admin.query(
      "select articles_limit, tokens_limit::int from public.token_subscriptions where user_id = $1",
      [member],
    );
    expect(rows).toEqual([{ articles_limit: null, tokens_limit: 1_000 }]);
  });

  test("that is to come for somebody, or that somebody has asked for, is in use too", async () => {
    for (const plan of ["lower", "asked"]) {
      await setPlan(plan, { name: plan, tokens: 1_000, price_cents: 100, billing_cycle: "monthly", rank: 1 });
    }
    await setPlan("free_to_change", { name: "Free", tokens: 1_000, billing_cycle: "monthly" });
    const member = await createUser(db);
    await server("change_token_plan", { p_user_id: member, p_plan_type: "professional" });
    await server("change_token_plan", { p_user_id: member, p_plan_type: "lower" });
    const { payment_id } = await server("create_token_payment", { p_user_id: member, p_to_plan: "asked" });

    for (const plan of ["lower", "asked"]) {
      await expect(setPlan(plan, { billing_cycle: "annual" })).rejects.toMatchObject({
        message: "plan_in_use",
      });
    }
    await server("reject_token_payment", { p_user_id: member, p_payment_id: payment_id, p_reason: "no" });
    expect(await setPlan("asked", { billing_cycle: "annual" })).toMatchObject({ changed: ["billing_cycle"] });
    expect(await setPlan("free_to_change", { billing_cycle: "none" })).toMatchObject({
      changed: ["billing_cycle"],
    });
  });

  test("that becomes the default takes it from the one before, from that moment on", async () => {
    await setPlan("free", { is_default: true });
    await setPlan("newcomers", { name: "Newcomers", tokens: 500 });
    expect(await setPlan("newcomers", { is_default: true })).toMatchObject({
      changed: ["given_to_users_since", "is_default"],
    });
    const { rows } = await db.admin.query(
      "select plan_type, given_to_users_since > now() - interval '1 hour' as is_now from public.token_plans where is_default",
    );
    expect(rows).toEqual([{ plan_type: "newcomers", is_now: true }]);
    expect((await changes("set_token_plan")).at(-1)!.details).toMatchObject({ default_before: "free" });
    expect(await setPlan("newcomers", { given_to_users_since: "-infinity" })).toMatchObject({
      plan: { given_to_users_since: "-infinity" },
    });
    await setPlan("newcomers", { is_default: false });
  });
});

describe("a provider's id", () => {
  const sold = async (provider: string, id: string) =>
    (
      await asService(db, (client) =>
        client.query(
          "select plan_type, pack_type, is_current from public.token_price_ids where provider = $1 and price_id = $2",
          [provider, id],
        ),
      )
    ).rows;

  test("that is replaced still counts for what it stood for, and comes back", async () => {
    await setPlan("starter", { stripe_price_id: "price_1", paypal_plan_id: "P-1" });
    await setPlan("starter", { stripe_price_id: "price_2", paypal_plan_id: null });
    await setPack("pack", { name: "Pack", tokens: 100, price_cents: 10, stripe_price_id: "price_3" });
    await setPack("pack", { stripe_price_id: "price_4" });

    expect(await sold("stripe", "price_1")).toEqual([
      { plan_type: "starter", pack_type: null, is_current: false },
    ]);
    expect(await sold("stripe", "price_2")).toEqual([
      { plan_type: "starter", pack_type: null, is_current: true },
    ]);
    expect(await sold("paypal", "P-1")).toEqual([
      { plan_type: "starter", pack_type: null, is_current: false },
    ]);
    expect(await sold("stripe", "price_3")).toEqual([
      { plan_type: null, pack_type: "pack", is_current: false },
    ]);
    expect(await sold("stripe", "price_4")).toEqual([
      { plan_type: null, pack_type: "pack", is_current: true },
    ]);
    expect(await setPlan("starter", { stripe_price_id: "price_1" })).toMatchObject({
      plan: { stripe_price_id: "price_1", former_stripe_price_ids: ["price_2"] },
    });
  });

  test.each([
    ["of another plan now", { stripe_price_id: "price_1" }],
    ["of another plan formerly", { stripe_price_id: "price_2" }],
    ["of a pack now", { stripe_price_id: "price_4" }],
    ["of a pack formerly", { stripe_price_id: "price_3" }],
    ["said to be a former one, of a pack", { former_stripe_price_ids: ["price_9", "price_3"] }],
    ["said twice", { former_stripe_price_ids: ["price_9", "price_9"] }],
  ])("%s is refused", async (_, fields) => {
    const before = await catalogue();
    await expect(setPlan("professional", fields)).rejects.toMatchObject({
      message: "invalid_plan",
      detail: expect.stringContaining('"field": "stripe_price_id"'),
    });
    expect(await catalogue()).toEqual(before);
  });
});

describe("who may change the catalogue", () => {
  const calls: [string, Fields][] = [
    ["set_token_plan", { p_plan_type: "starter", p_plan: { price_cents: 1 }, p_reason: "mine" }],
    ["set_token_pack", { p_pack_type: "pack", p_pack: { price_cents: 1 }, p_reason: "mine" }],
  ];

  test.each(calls)("%s: admins and the server, and nobody else", async (name, args) => {
    const before = await catalogue();
    const former = await createUser(db, { admin: true });
    await db.admin.query("delete from tokenbook.admins where user_id = $1", [former]);
    const refused = { code: "42501" };

    await expect(asAnon(db, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    await expect(asUser(db, user, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    await expect(asAdmin(db, user, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    await expect(asAdmin(db, former, (client) => rpc(client, name, args))).rejects.toMatchObject(refused);
    expect(await catalogue()).toEqual(before);
    expect(await asAdmin(db, admin, (client) => rpc(client, name, args))).toMatchObject({ success: true });
    expect(await asService(db, (client) => rpc(client, name, args))).toMatchObject({ success: true });
  });

  test("everyone reads it, signed in or not, and nobody writes it in another way", async () => {
    for (const table of ["token_plans", "token_packs"]) {
      const read = (client: ClientBase) => client.query(`select * from public.${table}`);
      expect((await asAnon(db, read)).rows.length).toBeGreaterThan(0);
      expect((await asUser(db, user, read)).rows.length).toBeGreaterThan(0);
      await expect(
        asService(db, (client) => client.query(`update public.${table} set price_cents = 1 where true`)),
      ).rejects.toMatchObject({ code: "42501" });
    }
  });
});

describe("bad input", () => {
  const text = "a text";
  const whole = "a whole number";
  const plan: [field: string, value: unknown, rule: string][] = [
    ["name", null, "not null"],
    ["name", 7, text],
    ["name", "", "1 to 200 characters"],
    ["name", "x".repeat(201), "1 to 200 characters"],
    ["tokens", null, "not null"],
    ["tokens", 0, "1 to 1000000000000"],
    ["tokens", 1_000_000_000_001, "1 to 1000000000000"],
    ["tokens", 1.5, whole],
    ["tokens", "5", whole],
    ["tokens", 1e30, whole],
    ["articles_limit", -1, "0 or more, or null for no limit"],
    ["articles_limit", 2 ** 31, whole],
    ["storage_gb", -1, "0 or more"],
    ["storage_gb", null, "not null"],
    ["price_cents", -1, "0 or more"],
    ["price_cents", "9.00", whole],
    ["currency", "USD", "three lower-case letters (ISO 4217)"],
    ["currency", 1, text],
    ["billing_cycle", "weekly", "one of none, 28day, monthly, annual"],
    ["grant_type", "gift", "a type of grants that every project has (Lists, in the reference)"],
    ["grant_lifetime_days", null, "1 to 36500: grants of this plan's grant_type must end"],
    ["grant_lifetime_days", 0, "1 to 36500, or null for ever"],
    ["balance_cap", 0, "1 or more, or null for no cap"],
    ["rollover_tokens", 0, "1 or more, or null for no such limit"],
    ["rollover_percent", 101, "1 to 100, or null for no such limit"],
    ["rollover_lifetime_days", 5, "1 to 36500 where something is carried over, else null"],
    ["rank", 2 ** 31, whole],
    ["rank", null, "not null"],
    ["features", [], "an object"],
    ["features", "{}", "an object"],
    ["features", { x: "y".repeat(9_000) }, "an object of at most 8192 bytes"],
    ["stripe_price_id", "", "1 to 255 characters"],
    ["stripe_price_id", "p".repeat(256), "1 to 255 characters"],
    ["paypal_plan_id", {}, text],
    ["former_stripe_price_ids", "price_1", "an array of texts of 1 to 255 characters"],
    ["former_stripe_price_ids", [1], "an array of texts of 1 to 255 characters"],
    ["former_stripe_price_ids", [["a"]], "an array of texts of 1 to 255 characters"],
    ["former_paypal_plan_ids", [""], "an array of texts of 1 to 255 characters"],
    ["former_paypal_plan_ids", Array.from({ length: 101 }, (_, n) => `P-${n}`), "at most 100"],
    ["is_offered", "true", "true or false"],
    ["is_default", null, "not null"],
    ["given_to_users_since", 5, "a moment with its offset, or -infinity"],
    ["given_to_users_since", "soon", "a moment with its offset, or -infinity"],
    ["given_to_users_since", "2026-02-01", "a moment with its offset, or -infinity"],
    ["given_to_users_since", "2026-02-31T00:00:00Z", "a moment with its offset, or -infinity"],
    ["given_to_users_since", "2026-02-01T00:00:00+25:00", "a moment with its offset, or -infinity"],
    ["given_to_users_since", "2026-02-01 00:00:00 Foo/Bar", "a moment with its offset, or -infinity"],
    ["plan_type", "other", "a field that can be set"],
    ["created_at", "2026-01-01T00:00:00Z", "a field that can be set"],
    ["price", 900, "a field that can be set"],
    ["ctid", "(0,1)", "a field that can be set"],
    ["x".repeat(1_000), 1, "a field that can be set"],
  ];
  const pack: [field: string, value: unknown, rule: string][] = [
    ["name", "", "1 to 200 characters"],
    ["tokens", 0, "1 to 1000000000"],
    ["tokens", 1_000_000_001, "1 to 1000000000"],
    ["lifetime_days", 0, "1 to 36500, or null for ever"],
    ["priority", 101, "0 to 100"],
    ["priority", 40_000, whole],
    ["price_cents", 0, "1 to 1000000000000: what costs nothing is given by grant_tokens"],
    ["price_cents", null, "not null"],
    ["currency", "dollars", "three lower-case letters (ISO 4217)"],
    ["stripe_price_id", "p".repeat(256), "1 to 255 characters"],
    ["former_stripe_price_ids", null, "not null"],
    ["is_offered", 1, "true or false"],
    ["quantity", 2, "a field that can be set"],
  ];
  const shown = (value: unknown) => (JSON.stringify(value) ?? "").slice(0, 40);
  const cases = [
    ...plan.map(([field, value, rule]) => ({ of: "plan", field, value, rule, shown: shown(value) })),
    ...pack.map(([field, value, rule]) => ({ of: "pack", field, value, rule, shown: shown(value) })),
  ];

  test.each(cases)("$of: $field = $shown is refused by name", async ({ of, field, value, rule }) => {
    const before = await catalogue();
    const call = of === "plan" ? setPlan("28day", { [field]: value }) : setPack("pack", { [field]: value });
    const error = await call.then(
      () => undefined,
      (thrown: { code: string; message: string; detail: string }) => thrown,
    );
    expect(error).toMatchObject({ code: "PT400", message: `invalid_${of}` });
    expect(JSON.parse(error!.detail)).toEqual({ field: field.slice(0, 64), rule });
    expect(await catalogue()).toEqual(before);
  });

  test.each([
    ["no name", "new", { tokens: 5 }, { field: "name", rule: "given when it is made" }],
    ["no tokens", "new", { name: "New" }, { field: "tokens", rule: "given when it is made" }],
    ["nothing", "new", {}, { field: "name", rule: "given when it is made" }],
    ["a name that is none", "New plan", { name: "New", tokens: 5 }, { field: "p_plan_type" }],
    ["no name in code", null, { name: "New", tokens: 5 }, { field: "p_plan_type" }],
    ["a list", "new", [], { field: "p_plan" }],
    ["null", "new", null, { field: "p_plan" }],
    ["a flood", "new", { name: "x".repeat(70_000), tokens: 5 }, { field: "p_plan" }],
  ])("a new plan with %s is refused", async (_, name, fields, facts) => {
    const before = await catalogue();
    const error = await setPlan(name as string, fields).then(
      () => undefined,
      (thrown: { message: string; detail: string }) => thrown,
    );
    expect(error).toMatchObject({ message: "invalid_plan" });
    expect(JSON.parse(error!.detail)).toMatchObject(facts);
    expect(await catalogue()).toEqual(before);
  });

  test("nothing is changed without a reason", async () => {
    for (const reason of [null, "", " \n", "r".repeat(501)]) {
      await expect(
        server("set_token_plan", { p_plan_type: "grow", p_plan: { price_cents: 5 }, p_reason: reason }),
      ).rejects.toMatchObject({ message: "invalid_reason" });
    }
  });
});

test("a variant in which plans change under their users is caught", { tags: ["proof"] }, async () => {
  const accepted: Record<string, boolean> = {};
  for (const mutant of [undefined, "plans-change-under-their-users"]) {
    const own = await createDatabase();
    try {
      if (mutant !== undefined) await applyMutant(own, mutant);
      const member = await createUser(own);
      await server("change_token_plan", { p_user_id: member, p_plan_type: "starter" }, own);
      accepted[mutant ?? "as it is"] = await setPlan("starter", { billing_cycle: "annual" }, own).then(
        () => true,
        () => false,
      );
    } finally {
      await own.drop();
    }
  }
  console.log(`a plan in use changes its periods: ${JSON.stringify(accepted)}`);
  expect(accepted).toEqual({ "as it is": false, "plans-change-under-their-users": true });
});
