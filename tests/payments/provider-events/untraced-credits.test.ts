/** What is paid with a credit of which nobody knows what had been paid for it: money counts once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { recordPaymentEvent } from "../../support/provider-events.ts";
import { asAdmin, asService, createUser, rpc } from "../../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

const STARTER = 400_000;

/** A customer who has paid a period by card, and what may come of it. */
async function customer(on: Database = db) {
  const user = await createUser(on);
  const id = (name: string) => `${name}_${user}`;
  const paid = (name: string, day: number, facts: Record<string, unknown>) =>
    recordPaymentEvent(on, id(name), {
      kind: "paid",
      occurred_at: `2026-11-0${day}T00:00:00Z`,
      user_id: user,
      customer_id: id("cus"),
      currency: "usd",
      ...facts,
    });
  await paid("first", 1, { plan_type: "starter", amount_cents: 900 });
  return {
    user,
    id,
    /** An invoice of a credit alone, which goes to the balance. */
    credit: (name = "credit", day = 2) =>
      paid(name, day, {
        price_id: "price_starter",
        parked_reason: "credited",
        amount_cents: 0,
        from_balance_cents: -890,
      }),
    /** A renewal, of which the balance pays so much. */
    renewal: (fromBalance: number, name = "renewal", day = 3) =>
      paid(name, day, {
        plan_type: "starter",
        amount_cents: 900,
        ...(fromBalance > 0 && { from_balance_cents: fromBalance }),
      }),
    tokens: async (): Promise<number> => {
      const { rows } = await on.admin.query(
        "select public.get_user_token_balance($1) ->> 'total_active' as tokens",
        [user],
      );
      return Number(rows[0].tokens);
    },
    dismiss: (name = "credit") =>
      asService(on, (client) =>
        rpc(client, "dismiss_parked_token_payment", {
          p_provider: "stripe",
          p_provider_payment_id: id(name),
          p_reason: "decided",
        }),
      ),
    assign: async (name: string, plan?: string) => {
      const admin = await createUser(on, { admin: true });
      return asAdmin(on, admin, (client) =>
        rpc(client, "assign_parked_token_payment", {
          p_provider: "stripe",
          p_provider_payment_id: id(name),
          p_user_id: user,
          ...(plan !== undefined && { p_plan_type: plan }),
        }),
      );
    },
    parked: async () => {
      const { rows } = await asService(on, (client) =>
        client.query(
          "select provider_payment_id as id, parked_reason, parked_details, explanation from public.list_parked_token_payments() where customer_id = $1",
          [id("cus")],
        ),
      );
      return rows;
    },
  };
}

test("what is paid with it waits, and says with which credit and how much", async () => {
  const they = await customer();
  await they.credit();

  expect(await they.renewal(890)).toMatchObject({ status: "parked", parked_reason: "paid_with_credit" });

  expect(await they.tokens()).toBe(STARTER);
  const [, renewal] = await they.parked();
  expect(renewal).toMatchObject({
    id: they.id("renewal"),
    parked_details: { credited_payment_id: they.id("credit"), from_balance_cents: 890 },
  });
  expect(renewal.explanation).toContain(
    `The credit is ${they.id("credit")}. From the balance: 890 of 900 usd.`,
  );
});

test("an admin who dismisses the credit says that it is as good as money: what it held is given", async () => {
  const they = await customer();
  await they.credit();
  await they.renewal(890);
  await they.renewal(890, "another", 4);

  await they.dismiss();

  expect(await they.tokens()).toBe(3 * STARTER);
  expect(await they.parked()).toEqual([]);
  await they.dismiss();
  expect(await they.renewal(890)).toMatchObject({ status: "approved" });
  expect(await they.tokens()).toBe(3 * STARTER);
});

test("so does one who assigns the credit", async () => {
  const they = await customer();
  await they.credit();
  await they.renewal(890);

  await they.assign("credit", "starter");

  expect(await they.tokens()).toBe(3 * STARTER);
});

test("one who assigns what was paid decides on that alone", async () => {
  const they = await customer();
  await they.credit();
  await they.renewal(890);
  await they.renewal(890, "another", 4);

  expect(await they.assign("renewal")).toMatchObject({ status: "approved" });

  expect(await they.tokens()).toBe(2 * STARTER);
  expect((await they.parked()).map(({ id }) => id)).toEqual([they.id("credit"), they.id("another")]);
});

test("of two credits both are to be decided on first", async () => {
  const they = await customer();
  await they.credit();
  await they.credit("second");
  await they.renewal(890);

  await they.dismiss();
  expect(await they.tokens()).toBe(STARTER);
  await they.dismiss("second");

  expect(await they.tokens()).toBe(2 * STARTER);
});

test("what is paid by card, or was paid before the credit, or is another customer's, does not wait", async () => {
  const [they, others] = [await customer(), await customer()];
  await they.credit();

  expect(await they.renewal(0)).toMatchObject({ status: "approved" });
  expect(await they.renewal(890, "before", 1)).toMatchObject({ status: "approved" });
  expect(await others.renewal(890)).toMatchObject({ status: "approved" });
});

test("a credit that is heard of after what was paid with it says that this is given", async () => {
  const they = await customer();
  await they.renewal(890);

  await they.credit();

  expect(await they.tokens()).toBe(2 * STARTER);
  const [credit] = await they.parked();
  expect(credit).toMatchObject({ parked_details: { already_paid_with: [they.id("renewal")] } });
  expect(credit.explanation).toContain(`paid from that balance since: ${they.id("renewal")}.`);
});

test.each([
  ["credits-nobody-traced-are-money", 2, 2],
  ["decided-credits-hold-on", 1, 1],
])("the test sees it: %s", { tags: ["proof"] }, async (variant, held, decided) => {
  const broken = await createDatabase();
  await applyMutant(broken, variant);
  const they = await customer(broken);
  await they.credit();
  await they.renewal(890);

  expect(await they.tokens()).toBe(held * STARTER);
  await they.dismiss();
  expect(await they.tokens()).toBe(decided * STARTER);
  await broken.drop();
});
