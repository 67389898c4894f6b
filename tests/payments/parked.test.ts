import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { giveFreePlanAtRegistration } from "../support/plans.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
});
afterAll(() => db.drop());

test("a payment of an unknown user is parked until an admin says whose it is", async () => {
  const user = await createUser(db);
  const admin = await createUser(db, { admin: true });
  const event = await asService(db, (client) =>
    rpc(client, "record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: "evt_parked",
      p_event_type: "paid",
      p_provider_payment_id: "pi_parked",
      p_facts: {
        kind: "paid",
        occurred_at: "2026-11-01T00:00:00Z",
        user_id: "00000000-0000-4000-8000-00000000dead",
        plan_type: "professional",
        amount_cents: 3_900,
        currency: "usd",
      },
    }),
  );
  expect(event).toMatchObject({ status: "parked", user_id: null });
  const { rows } = await asAdmin(db, admin, (client) =>
    client.query("select * from public.list_parked_token_payments()"),
  );
  expect(rows).toContainEqual(
    expect.objectContaining({
      provider_payment_id: "pi_parked",
      plan_type: "professional",
      parked_reason: "user_unknown",
    }),
  );

  const answer = await asAdmin(db, admin, (client) =>
    rpc(client, "assign_parked_token_payment", {
      p_provider: "stripe",
      p_provider_payment_id: "pi_parked",
      p_user_id: user,
    }),
  );

  expect(answer).toMatchObject({ status: "approved", tokens_remaining: 2_010_000 });
  await expect(
    asAdmin(db, admin, (client) =>
      rpc(client, "assign_parked_token_payment", {
        p_provider: "stripe",
        p_provider_payment_id: "pi_parked",
        p_user_id: admin,
      }),
    ),
  ).rejects.toMatchObject({ message: "payment_already_decided" });
});

test("what is parked is shown to admins and the server alone", async () => {
  const user = await createUser(db);

  await expect(
    asUser(db, user, (client) => client.query("select * from public.list_parked_token_payments()")),
  ).rejects.toMatchObject({ code: "42501" });
});
