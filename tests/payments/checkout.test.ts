import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { recordPaymentEvent, recordSubscriptionEvent } from "../support/provider-events.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let user: string;
let other: string;
beforeAll(async () => {
  db = await createDatabase();
  [user, other] = [await createUser(db), await createUser(db)];
  await asService(db, (client) =>
    rpc(client, "set_token_pack", {
      p_pack_type: "small",
      p_pack: { name: "Small", tokens: 1_000, price_cents: 500, stripe_price_id: "price_small" },
      p_reason: "a test",
    }),
  );
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

const setCustomer = (userId: string, customer: string | null, provider = "stripe") =>
  asService(db, (client) =>
    rpc(client, "set_token_customer", {
      p_user_id: userId,
      p_provider: provider,
      p_customer_id: customer,
    }),
  );

const customerOf = (userId: string, provider = "stripe") =>
  asUser(db, userId, (client) =>
    rpc(client, "get_token_customer", { p_user_id: userId, p_provider: provider }),
  );

const prepare = (args: Record<string, unknown>, of = user) =>
  asUser(db, of, (client) => rpc(client, "prepare_token_checkout", { p_user_id: of, ...args }));

test("a customer is whose it was first; the same again changes nothing", async () => {
  const id = "cus_first";
  expect(await customerOf(user)).toMatchObject({ customer_id: null });
  expect(await setCustomer(user, id)).toMatchObject({ success: true, user_id: user, replayed: false });
  expect(await setCustomer(user, id)).toMatchObject({ success: true, user_id: user, replayed: true });
  expect(await setCustomer(other, id)).toMatchObject({ success: false, user_id: user, replayed: true });
  expect(await customerOf(user)).toMatchObject({ customer_id: id });
  expect(await customerOf(other)).toMatchObject({ customer_id: null });
  // another provider's customers have names of their own
  expect(await setCustomer(other, id, "paypal")).toMatchObject({ success: true, replayed: false });
});

test("of several customers a user is the one that was learned last", async () => {
  const someone = await createUser(db);
  for (const id of ["cus_z", "cus_a"]) await setCustomer(someone, id);
  expect(await customerOf(someone)).toMatchObject({ customer_id: "cus_a" });
});

test("a payment that names its customer alone is that user's", async () => {
  const buyer = await createUser(db);
  await setCustomer(buyer, "cus_buyer");
  const answer = await recordPaymentEvent(db, "pi_customer_alone", {
    kind: "paid",
    customer_id: "cus_buyer",
    pack_type: "small",
    amount_cents: 500,
    currency: "usd",
  });
  expect(answer).toMatchObject({ status: "approved", user_id: buyer, tokens_granted: 1_000 });
});

test.each([
  ["p_customer_id", "cus 1", "stripe"],
  ["p_customer_id", "x".repeat(256), "stripe"],
  ["p_customer_id", "", "stripe"],
  ["p_customer_id", null, "stripe"],
  ["p_provider", "cus_1", "bank"],
])("%s of %j at %s is refused", async (field, customer, provider) => {
  await expect(setCustomer(user, customer, provider)).rejects.toMatchObject({
    message: "invalid_customer",
    detail: expect.stringContaining(field),
  });
});

test("customers are read by their own user, admins and the server, and set by admins and the server", async () => {
  const admin = await createUser(db, { admin: true });
  const read = { p_user_id: user, p_provider: "stripe" };
  await expect(asUser(db, other, (client) => rpc(client, "get_token_customer", read))).rejects.toMatchObject({
    message: "forbidden",
  });
  for (const answer of [
    await asAdmin(db, admin, (client) => rpc(client, "get_token_customer", read)),
    await asService(db, (client) => rpc(client, "get_token_customer", read)),
  ]) {
    expect(answer).toMatchObject({ user_id: user, customer_id: "cus_first" });
  }
  const write = { ...read, p_customer_id: "cus_mine" };
  await expect(asUser(db, user, (client) => rpc(client, "set_token_customer", write))).rejects.toMatchObject({
    message: "forbidden",
  });
  // the same that it is already
  expect(
    await asAdmin(db, admin, (client) =>
      rpc(client, "set_token_customer", { ...write, p_customer_id: "cus_first" }),
    ),
  ).toMatchObject({ success: true, replayed: true });
});

test("a checkout is made of the catalogue's price and the user's customer, and writes nothing", async () => {
  const before = await db.admin.query("select count(*) from public.token_payments where user_id = $1", [
    user,
  ]);
  expect(await prepare({ p_pack_type: "small", p_quantity: 3 })).toEqual({
    user_id: user,
    plan_type: null,
    pack_type: "small",
    quantity: 3,
    price_id: "price_small",
    amount_cents: 1_500,
    currency: "usd",
    billing_cycle: null,
    customer_id: "cus_first",
    idempotency_key: null,
  });
  const after = await db.admin.query("select count(*) from public.token_payments where user_id = $1", [user]);
  expect(after.rows).toEqual(before.rows);
});

test("the key that goes on to the provider is bounded, and each user's and the server's own", async () => {
  const args = { p_pack_type: "small", p_idempotency_key: "k".repeat(255) };
  const keys = [
    (await prepare(args)).idempotency_key,
    (await prepare(args, other)).idempotency_key,
    (await asService(db, (client) => rpc(client, "prepare_token_checkout", { p_user_id: user, ...args })))
      .idempotency_key,
  ];
  for (const key of keys) expect(key).toMatch(/^[0-9a-f]{64}$/);
  expect(new Set(keys).size).toBe(3);
  expect((await prepare(args)).idempotency_key).toBe(keys[0]);
});

test("a former price is not what is bought today", async () => {
  await asService(db, (client) =>
    rpc(client, "set_token_pack", {
      p_pack_type: "small",
      p_pack: { stripe_price_id: "price_small_now" },
      p_reason: "a test",
    }),
  );
  expect((await prepare({ p_pack_type: "small" })).price_id).toBe("price_small_now");
});

test("a user with a running PayPal subscription is sold packs, and no plan beside it", async () => {
  const someone = await createUser(db);
  await db.admin.query(
    "update public.token_plans set stripe_price_id = 'price_starter', price_cents = 900 where plan_type = 'starter'",
  );
  const tell = (status: string, minute: number) =>
    recordSubscriptionEvent(
      db,
      "I-1",
      {
        occurred_at: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString(),
        user_id: someone,
        plan_type: "starter",
        status,
      },
      { provider: "paypal" },
    );
  for (const [minute, status] of ["active", "past_due", "paused"].entries()) {
    await tell(status, minute);
    await expect(prepare({ p_plan_type: "starter" }, someone), status).rejects.toMatchObject({
      message: "already_subscribed",
    });
    expect(await prepare({ p_pack_type: "small" }, someone)).toMatchObject({ quantity: 1 });
  }
  await tell("cancelled", 3);
  expect(await prepare({ p_plan_type: "starter" }, someone)).toMatchObject({ price_id: "price_starter" });
});

test("a frozen or deleted user is sold nothing", async () => {
  const [frozen, deleted] = [await createUser(db), await createUser(db)];
  await asService(db, (client) =>
    rpc(client, "set_token_account_state", { p_user_id: frozen, p_state: "frozen", p_reason: "a test" }),
  );
  await db.admin.query("update auth.users set deleted_at = now() where id = $1", [deleted]);
  for (const [of, message] of [
    [frozen, "account_frozen"],
    [deleted, "user_not_found"],
  ] as const) {
    const asked = asService(db, (client) =>
      rpc(client, "prepare_token_checkout", { p_user_id: of, p_pack_type: "small" }),
    );
    await expect(asked, message).rejects.toMatchObject({ message });
  }
});
