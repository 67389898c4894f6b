/** A parked payment: the project is told of it, and it can be dismissed until something else becomes known of it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { refund, told } from "../support/provider-events.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
});
afterAll(async () => {
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
  await db.drop();
});

const project = "00000000-0000-0000-0000-000000000000";
let nth = 0;
const event = (payment: string, facts: Record<string, unknown>, id = `evt_${++nth}`, of = db) =>
  asService(of, (client) =>
    rpc(client, "record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: id,
      p_event_type: "x",
      p_provider_payment_id: payment,
      p_facts: facts,
    }),
  );
const unknownPrice = (more: Record<string, unknown> = {}) =>
  told({
    kind: "paid",
    price_id: "price_gone",
    amount_cents: 900,
    currency: "usd",
    parked_reason: "price_unknown",
    ...more,
  });
const dismiss = (payment: string, reason: string | null = "a test of ours", of = db) =>
  asAdmin(of, admin, (client) =>
    rpc(client, "dismiss_parked_token_payment", {
      p_provider: "stripe",
      p_provider_payment_id: payment,
      p_reason: reason,
    }),
  );
const isListed = (payment: string, of = db) =>
  asService(of, async (client) => {
    const { rows } = await client.query(
      "select from public.list_parked_token_payments() where provider_payment_id = $1",
      [payment],
    );
    return rows.length > 0;
  });
const alerts = async (payment: string, of = db) =>
  (
    await of.admin.query(
      "select user_id, kind, payload from public.token_alerts where payload ->> 'provider_payment_id' = $1 order by id",
      [payment],
    )
  ).rows;

test("the project is told of a parked payment once, with its reason in words, and hands it to whoever delivers", async () => {
  const facts = unknownPrice();
  await event("pi_told", facts, "evt_told");
  await event("pi_told", facts, "evt_told");

  expect(await alerts("pi_told")).toEqual([
    {
      user_id: project,
      kind: "payment_parked",
      payload: {
        provider: "stripe",
        provider_payment_id: "pi_told",
        parked_reason: "price_unknown",
        explanation: expect.stringMatching(/^[A-Z].*\.$/),
        price_id: "price_gone",
        amount_cents: 900,
        currency: "usd",
      },
    },
  ]);
  const claimed = await asService(db, (client) =>
    client.query("select user_id, kind, alert_id::int as id, claim_id from public.claim_token_alerts(100)"),
  );
  const mine = claimed.rows.find(({ kind }) => kind === "payment_parked");
  expect(mine).toMatchObject({ user_id: project });
  const settled = await asService(db, (client) =>
    rpc(client, "settle_token_alert", { p_user_id: project, p_alert_id: mine.id, p_claim_id: mine.claim_id }),
  );
  expect(settled).toMatchObject({ delivery: "delivered" });
});

test("no user reads what the project is told", async () => {
  await event("pi_secret", unknownPrice());
  const user = await createUser(db);

  const { rows } = await asUser(db, user, (client) => client.query("select * from public.token_alerts"));

  expect(rows).toEqual([]);
});

test("other news of a parked payment are told again", async () => {
  await event("pi_news", unknownPrice());
  await event("pi_news", told(refund("re_1", 900)));

  expect((await alerts("pi_news")).map(({ payload }) => payload.parked_reason)).toEqual([
    "price_unknown",
    "price_unknown",
  ]);
});

test("a dismissed payment is off the list, says who did it and why, and comes back with other news", async () => {
  await event("pi_dismissed", unknownPrice(), "evt_dismissed");
  expect(await isListed("pi_dismissed")).toBe(true);

  const first = await dismiss("pi_dismissed");
  const again = await dismiss("pi_dismissed");

  expect(first).toMatchObject({
    success: true,
    status: "dismissed",
    parked_reason: "price_unknown",
    replayed: false,
  });
  expect(again).toEqual({ ...first, replayed: true });
  expect(await isListed("pi_dismissed")).toBe(false);
  const { rows } = await db.admin.query(
    "select actor_role, actor_id, reason from tokenbook.changes where change = 'dismiss_parked_token_payment' and details ->> 'provider_payment_id' = 'pi_dismissed'",
  );
  expect(rows).toEqual([{ actor_role: "admin", actor_id: admin, reason: "a test of ours" }]);

  await event("pi_dismissed", told(refund("re_1", 100)));
  expect(await isListed("pi_dismissed")).toBe(true);
  expect(await alerts("pi_dismissed")).toHaveLength(2);
});

test("a dismissed payment can still be assigned, to a plan or a pack", async () => {
  await db.admin.query(
    "insert into public.token_packs (pack_type, name, tokens, price_cents) values ('pack', 'Pack', 700, 900)",
  );
  for (const [payment, what] of [
    ["pi_to_plan", { p_plan_type: "starter" }],
    ["pi_to_pack", { p_pack_type: "pack" }],
  ] as const) {
    const user = await createUser(db);
    await event(payment, unknownPrice());
    await dismiss(payment);

    const answer = await asAdmin(db, admin, (client) =>
      rpc(client, "assign_parked_token_payment", {
        p_provider: "stripe",
        p_provider_payment_id: payment,
        p_user_id: user,
        ...what,
      }),
    );

    expect(answer).toMatchObject({ status: "approved", user_id: user });
    expect(await isListed(payment)).toBe(false);
    await expect(dismiss(payment)).rejects.toMatchObject({
      code: "PT409",
      message: "payment_already_decided",
    });
  }
});

test("nobody dismisses without a reason, what is not there, or without being an admin", async () => {
  await event("pi_kept", unknownPrice());
  const user = await createUser(db);

  await expect(dismiss("pi_kept", null)).rejects.toMatchObject({ message: "invalid_reason" });
  await expect(dismiss("pi_kept", " ")).rejects.toMatchObject({ message: "invalid_reason" });
  await expect(dismiss("pi_none")).rejects.toMatchObject({ message: "payment_not_found" });
  await expect(
    asUser(db, user, (client) =>
      rpc(client, "dismiss_parked_token_payment", {
        p_provider: "stripe",
        p_provider_payment_id: "pi_kept",
        p_reason: "mine",
      }),
    ),
  ).rejects.toMatchObject({ code: "42501" });
  expect(await isListed("pi_kept")).toBe(true);
});

test.each([
  [
    "parked-payments-are-told-again",
    async (of: Database) => {
      const facts = unknownPrice();
      for (const _ of [1, 2]) await event("pi_twice", facts, "evt_twice", of);
      return (await alerts("pi_twice", of)).length;
    },
    1,
  ],
  [
    "dismissed-payments-stay-away",
    async (of: Database) => {
      await event("pi_away", unknownPrice(), "evt_away", of);
      await asService(of, (client) =>
        rpc(client, "dismiss_parked_token_payment", {
          p_provider: "stripe",
          p_provider_payment_id: "pi_away",
          p_reason: "a test",
        }),
      );
      await event("pi_away", told(refund("re_1", 100)), "evt_away_2", of);
      return isListed("pi_away", of);
    },
    true,
  ],
] as const)("the tests see %s", { tags: ["proof"] }, async (mutant, attempt, right) => {
  for (const isBroken of [false, true]) {
    const of = await createDatabase();
    if (isBroken) await applyMutant(of, mutant);
    const came = await attempt(of);
    await of.drop();
    if (isBroken) expect(came).not.toEqual(right);
    else expect(came).toEqual(right);
  }
});
