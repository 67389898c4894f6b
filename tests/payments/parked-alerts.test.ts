/** A parked payment: the project is told of it, and it can be dismissed until something else becomes known of it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { recordPaymentEvent, refund, told } from "../support/provider-events.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
  await asService(db, (client) =>
    rpc(client, "set_token_webhook_endpoint", { p_name: "app", p_url: "https://example.com/tokens" }),
  );
});
afterAll(async () => {
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
  await db.drop();
});

const project = "00000000-0000-0000-0000-000000000000";
const event = (payment: string, facts: Record<string, unknown>, id?: string, of = db) =>
  recordPaymentEvent(of, payment, facts, { event: id });
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

test("the project is told of a parked payment once, with its reason in words, and hands it to the delivery", async () => {
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
    client.query(
      "select user_id, kind, delivery_id::int as id, claim_id, data from public.claim_token_webhooks('app')",
    ),
  );
  const mine = claimed.rows.find(({ kind }) => kind === "token_alert.payment_parked");
  expect(mine).toMatchObject({ user_id: project, data: { user_id: null, provider_payment_id: "pi_told" } });
  const settled = await asService(db, (client) =>
    rpc(client, "settle_token_webhook", {
      p_user_id: project,
      p_delivery_id: mine.id,
      p_claim_id: mine.claim_id,
    }),
  );
  expect(settled).toMatchObject({ status: "delivered" });
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

test("when the payment is booked, that is told once, of the alert that it ends", async () => {
  const user = await createUser(db);
  await event("pi_ended", unknownPrice());
  await event("pi_ended", unknownPrice({ user_id: user }));
  const booked = unknownPrice({ user_id: user, plan_type: "starter", parked_reason: undefined });
  for (const _ of [1, 2]) await event("pi_ended", booked, "evt_ended");

  const { rows } = await db.admin.query(
    "select id::int, kind, rule, epoch::int, payload from public.token_alerts where payload ->> 'provider_payment_id' = 'pi_ended' order by id",
  );
  expect(rows.map(({ kind }) => kind)).toEqual(["payment_parked", "payment_parked", "recovered"]);
  expect(rows[2]).toMatchObject({
    rule: "payment_parked",
    epoch: rows[1].id,
    payload: { provider: "stripe", paid_by: user, ended_alert_id: rows[1].id },
  });
});

test("a part that waited by itself ends with the payment that it is a part of", async () => {
  const user = await createUser(db);
  await event("in_part", unknownPrice());
  await event("pi_whole", told({ kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900, currency: "usd", parts: ["in_part"] })); // prettier-ignore
  expect((await alerts("in_part")).map(({ kind, payload }) => [kind, payload.part_of])).toEqual([
    ["payment_parked", undefined],
    ["recovered", "pi_whole"],
  ]);
  expect(await isListed("in_part")).toBe(false);
});

test.each([
  [
    "amount_differs",
    { expected_cents: 900, expected_currency: "usd" },
    "The amount is not the price of what was named. Expected: 900 usd, paid: 1 usd, each in the smallest unit of its currency.",
  ],
  [
    "currency_differs",
    { expected_cents: 500, expected_currency: "jpy" },
    "The currency is not the one of what was named. Expected: 500 jpy, paid: 1 usd, each in the smallest unit of its currency.",
  ],
  [
    "quantity",
    { quantity: 5, at_most: 1 },
    "More were bought than one payment may buy: a plan once, packs up to 1,000 times. Bought: 5, at most: 1.",
  ],
  [
    "unreadable",
    { field: "resource.amount", rule: "an amount and its currency" },
    "The provider's event, or its answer about it, cannot be read. resource.amount must be: an amount and its currency.",
  ],
  [
    "refused",
    { error: "balance_limit_exceeded" },
    "The books refuse what was bought. The error is balance_limit_exceeded (docs/errors.md).",
  ],
  [
    "proration",
    undefined,
    "It is the difference that a change in mid-period costs, not the price of a plan.",
  ],
])(
  "%s says to admins what it is in this case, in the list and in the alert",
  async (reason, details, words) => {
    const payment = `pi_words_${reason}`;
    await event(payment, unknownPrice({ parked_reason: reason, parked_details: details, amount_cents: 1 }));
    const { rows } = await asAdmin(db, admin, (client) =>
      client.query(
        "select explanation, parked_details from public.list_parked_token_payments() where provider_payment_id = $1",
        [payment],
      ),
    );
    expect(rows).toEqual([{ explanation: words, parked_details: details ?? null }]);
    const [alert] = await alerts(payment);
    expect(alert!.payload.explanation).toBe(words);
    expect(alert!.payload.parked_details).toEqual(details);
  },
);

test("more than may be bought is said though nothing but the catalogue says so", async () => {
  const user = await createUser(db);
  await event("pi_five", told({ kind: "paid", user_id: user, plan_type: "starter", quantity: 5, amount_cents: 4500, currency: "usd" })); // prettier-ignore
  expect((await alerts("pi_five"))[0]!.payload).toMatchObject({
    parked_reason: "quantity",
    parked_details: { quantity: 5, at_most: 1 },
  });
});

test.each([["a text"], [[1]], [{ rule: "x".repeat(3_000) }]])(
  "details that are %j are refused",
  async (parked_details) => {
    await expect(event("pi_odd", unknownPrice({ parked_details }))).rejects.toMatchObject({
      message: "invalid_provider_event",
      detail: expect.stringContaining("parked_details"),
    });
  },
);

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
  [
    "booked-payments-go-on-waiting",
    async (of: Database) => {
      const user = await createUser(of);
      await event("pi_on", unknownPrice(), undefined, of);
      await event(
        "pi_on",
        unknownPrice({ user_id: user, plan_type: "starter", parked_reason: undefined }),
        undefined,
        of,
      );
      return (await alerts("pi_on", of)).length;
    },
    2,
  ],
  [
    "parking-says-no-figures",
    async (of: Database) => {
      const details = { expected_cents: 900, expected_currency: "usd" };
      await event(
        "pi_figures",
        unknownPrice({ parked_reason: "amount_differs", parked_details: details }),
        undefined,
        of,
      );
      return String((await alerts("pi_figures", of))[0]!.payload.explanation).includes("Expected: 900 usd");
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
