/** What has to be there, and be said, for every function of the catalogue to come to something. */
import type { Arguments } from "./calls.ts";
import type { Database } from "./database.ts";
import type { PopulatedUser } from "./populated-user.ts";
import { told } from "./provider-events.ts";
import { asService, createUser, rpc } from "./roles.ts";

/** For each of these functions an argument of its own, with which it comes to something. */
export async function setTheStage({
  db,
  user: { id, things },
}: {
  db: Database;
  user: PopulatedUser;
}): Promise<Record<string, Arguments>> {
  const asServer = (name: string, args: Arguments) => asService(db, (client) => rpc(client, name, args));
  const payment = await asServer("create_token_payment", { p_user_id: id, p_to_plan: "annual" });
  await asServer("approve_token_payment", { p_user_id: id, p_payment_id: payment.payment_id });
  // the history says now that another grant should have paid
  await db.admin.query(
    "update public.token_balances set granted_at = '2025-01-01' where user_id = $1 and id = $2",
    [id, things.p_grant_id],
  );
  const restated = await asServer("restate_token_balances", { p_user_id: id, p_reason: "a reason" });
  await db.admin.query(
    `update tokenbook.subscriptions set period_start = now() - interval '30 days', expires_at = now() - interval '1 second'
      where user_id = $1`,
    [id],
  );
  // a clock that was ahead booked it: a finding that can be acknowledged
  const { rows: triggers } = await db.admin.query(
    "select 1 from pg_trigger where tgrelid = 'public.token_transactions'::regclass and not tgisinternal",
  );
  const withTriggers = (state: string) =>
    triggers.length > 0 ? `alter table public.token_transactions ${state} trigger user` : "";
  await db.admin.query(`${withTriggers("disable")};
    update public.token_transactions set created_at = (created_at at time zone 'UTC' + interval '1 day') at time zone 'UTC'
     where user_id = '${id}' and id = ${things.p_transaction_id};
    ${withTriggers("enable")}`);
  await db.admin.query(
    "update public.token_plans set stripe_price_id = 'price_annual' where plan_type = 'annual'",
  );
  const parked = { p_provider: "stripe", p_provider_payment_id: `pi-parked-${id}` };
  await asServer("record_token_payment_event", {
    ...parked,
    p_event_id: `evt-parked-${id}`,
    p_event_type: "paid",
    p_facts: told({
      kind: "paid",
      user_id: id,
      price_id: "price_of_nothing",
      amount_cents: 100,
      currency: "usd",
    }),
  });
  await asServer("set_token_referral_policy", { p_referrer_tokens: 1, p_referred_tokens: 1 });
  return {
    claim_token_referral: { p_user_id: await createUser(db) }, // who has not paid yet
    dismiss_parked_token_payment: parked,
    prepare_token_checkout: { p_plan_type: "annual", p_pack_type: null },
    record_token_subscription_event: {
      p_facts: told({ kind: "subscription", user_id: id, plan_type: "annual", status: "active" }),
    },
    set_token_limit: { p_name: "open_holds", p_value: 100 },
    acknowledge_token_finding: { p_transaction_id: things.p_transaction_id },
    refund_token_payment: { p_payment_id: payment.payment_id },
    reverse_token_restatement: { p_transaction_id: restated.transaction_ids[0] },
  };
}
