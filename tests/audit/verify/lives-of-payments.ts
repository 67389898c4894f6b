/** Users of whose payments providers told everything that they tell. */
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import type { Database } from "../../support/database.ts";
import {
  credit,
  dispute,
  recordPaymentEvent,
  recordSubscriptionEvent,
  refund,
} from "../../support/provider-events.ts";

/**
 * What was credited, reversed, told in parts of two users, learned late, parked, dismissed and assigned; several
 * packs; plans that are paused, cancelled and paid for beside each other.
 *
 * @param db has the plans and packs of lives.ts
 */
export async function livesOfPayments(db: Database, admin: string): Promise<string[]> {
  const users: string[] = [];
  const somebody = async () => {
    const user = await createUser(db);
    users.push(user);
    return user;
  };
  const asServer = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));
  const byAdmin = (name: string, payment: string, args: Record<string, unknown>) =>
    asAdmin(db, admin, (client) =>
      rpc(client, name, { p_provider: "stripe", p_provider_payment_id: payment, ...args }),
    );
  const tell = (payment: string, facts: Record<string, unknown>) => recordPaymentEvent(db, payment, facts);
  const atPaypal = (payment: string, facts: Record<string, unknown>) =>
    recordPaymentEvent(db, payment, facts, { provider: "paypal" });
  const paid = (amountCents: number, more: Record<string, unknown>) => ({
    kind: "paid",
    amount_cents: amountCents,
    currency: "usd",
    ...more,
  });
  const starter = (user: string) => paid(900, { user_id: user, plan_type: "starter" });
  const spend = (user: string, tokens: number) =>
    asUser(db, user, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens }),
    );

  // a change in mid-period: what was left of one plan is credited, in two steps, and pays for another
  const changes = await somebody();
  await tell("pi-changes", starter(changes));
  await spend(changes, 100_000);
  await tell("pi-changes", credit("in_1", 300));
  await tell("pi-changes", credit("in_2", 150));
  await tell("pi-changes", credit("in_1", 350));
  await tell("pi-changes", refund("re_credited", 100));
  await tell("pi-changed-to", paid(1_900, { user_id: changes, plan_type: "grow" }));

  // PayPal takes back more than a dispute is about, which is won; and a dispute is lost that is told as a refund too
  const reverses = await somebody();
  await atPaypal("cap-reversed", starter(reverses));
  await atPaypal("cap-reversed", dispute("open", "PP-1", 300));
  await atPaypal("cap-reversed", dispute("reversed", "rev-1", 500));
  await spend(reverses, 50_000);
  await atPaypal("cap-reversed", dispute("won", "PP-1", 300));
  await atPaypal("cap-lost", paid(1_000, { user_id: reverses, pack_type: "one", quantity: 2 }));
  await atPaypal("cap-lost", dispute("inquiry", "PP-2", 400));
  await atPaypal("cap-lost", refund("re_lost", 250, "pending"));
  await atPaypal("cap-lost", dispute("lost", "PP-2", 400));
  await atPaypal("cap-lost", dispute("reversed", "rev-2", 100));

  // of parts that had been booked to two users before they were told to be of one invoice
  const [first, second] = [await somebody(), await somebody()];
  await tell("pi-of-first", starter(first));
  await tell("pi-of-second", starter(second));
  await spend(second, 30_000);
  await tell("pi-of-first", {
    ...starter(first),
    amount_cents: 1_000,
    parts: ["pi-of-second", "pi-of-nobody"],
  });
  await tell("pi-of-second", refund("re_part", 200));

  // a customer whose user becomes known when two payments have waited for it, and another that is put right
  const [late, wrong] = [await somebody(), await somebody()];
  await tell("pi-late", paid(900, { plan_type: "starter", customer_id: "cus-late", price_id: "price-late" }));
  await tell("pi-late-too", paid(1_500, { pack_type: "one", quantity: 3, customer_id: "cus-late" }));
  await tell("pi-late", refund("re_late", 90));
  await asServer("set_token_customer", { p_user_id: late, p_provider: "stripe", p_customer_id: "cus-late" });
  await tell("pi-wrong", { ...starter(wrong), customer_id: "cus-wrong" });
  await asServer("set_token_customer", {
    p_user_id: late,
    p_provider: "stripe",
    p_customer_id: "cus-wrong",
    p_replace: true,
    p_reason: "it was the other one",
  });
  await tell("pi-righted", paid(300, { pack_type: "another", customer_id: "cus-wrong" }));

  // parked, for each kind of reason: left, dismissed, refunded meanwhile, and assigned
  const assigned = await somebody();
  await tell("pi-too-many", paid(900_000, { user_id: assigned, pack_type: "one", quantity: 2_000 }));
  await tell("pi-differs", {
    ...starter(assigned),
    amount_cents: 1,
    parked_reason: "amount_differs",
    parked_details: { expected_cents: 900, expected_currency: "usd" },
  });
  await byAdmin("dismiss_parked_token_payment", "pi-differs", { p_reason: "a trial of the page" });
  await tell("pi-nothing", paid(500, {}));
  await tell("pi-nothing", refund("re_nothing", 500));
  await byAdmin("dismiss_parked_token_payment", "pi-nothing", { p_reason: "given back" });
  await tell("pi-proration", paid(400, { user_id: assigned, parked_reason: "proration" }));
  await tell("pi-packs", paid(1_000, { customer_id: "cus-packs", parked_reason: "several_things" }));
  await tell("pi-packs", dispute("open", "dp_packs", 250));
  await byAdmin("assign_parked_token_payment", "pi-packs", {
    p_user_id: assigned,
    p_pack_type: "one",
    p_quantity: 2,
  });
  await tell("pi-packs", paid(1_000, { pack_type: "another", quantity: 3 }));
  await tell("pi-unheard", refund("re_unheard", 10)); // of what nobody has paid yet

  // paused by the provider, one of them until now; and one that is cancelled
  const [pauses, goesOn, cancels] = [await somebody(), await somebody(), await somebody()];
  for (const [user, plan, cents] of [
    [pauses, "starter", 900],
    [goesOn, "refills", 900],
    [cancels, "starter", 900],
  ] as const) {
    const facts = { user_id: user, plan_type: plan, customer_id: `cus-${user}` };
    const say = (status: string, more: Record<string, unknown> = {}) =>
      recordSubscriptionEvent(db, `sub-${user}`, { ...facts, status, ...more });
    await tell(`pi-${user}`, paid(cents, { ...facts, subscription_id: `sub-${user}` }));
    if (user === cancels) {
      await say("active", { cancel_at: new Date(Date.now() + 3 * 86_400_000).toISOString() });
      continue;
    }
    await say("paused");
    await letTimePass(db, user, 2);
    if (user === goesOn) await say("active");
    await spend(user, 25);
  }

  // three paid periods beside each other: of the highest all the money goes back, of another a part
  const beside = await somebody();
  await tell("pi-beside-1", starter(beside));
  await tell("pi-beside-2", paid(900, { user_id: beside, plan_type: "refills" }));
  await tell("pi-beside-3", paid(1_900, { user_id: beside, plan_type: "grow" }));
  await letTimePass(db, beside, 2);
  await spend(beside, 20_000);
  await tell("pi-beside-3", refund("re_all", 1_900));
  await tell("pi-beside-2", refund("re_some", 300));
  await spend(beside, 10);
  // and one that is renewed before its period is over
  const early = await somebody();
  for (const days of [0, 28])
    await tell(`pi-early-${days}`, {
      ...starter(early),
      period_start: new Date(Date.now() + days * 86_400_000).toISOString(),
    });
  return users;
}
