/*
 * Stripe's event of a subscription's month, signed and posted as Stripe does, without Stripe. In supabase/functions/.env:
 *
 *   STRIPE_WEBHOOK_SECRET=whsec_of_this_machine
 *   STRIPE_MODE=test
 *
 * and with `npm start` running in another terminal:
 *
 *   STRIPE_WEBHOOK_SECRET=whsec_of_this_machine node --env-file=.env.local --import tsx examples/stripe-events/post-an-invoice.ts
 *
 * output.txt is what it prints.
 */
import { createClient } from "@supabase/supabase-js";
import { Stripe } from "stripe";
import ws from "ws";

const { SUPABASE_URL, SUPABASE_SECRET_KEY, STRIPE_WEBHOOK_SECRET: secret } = process.env;
if (!SUPABASE_URL || !SUPABASE_SECRET_KEY || !secret) {
  throw new Error("set SUPABASE_URL, SUPABASE_SECRET_KEY and STRIPE_WEBHOOK_SECRET");
}

const supabase = createClient(SUPABASE_URL, SUPABASE_SECRET_KEY, {
  auth: { persistSession: false },
  realtime: { transport: ws as never }, // Node 20 has no WebSocket
});

// What is sold: the plan `starter`, under this price at Stripe.
const price = "price_of_the_example";
await must(
  supabase.rpc("set_token_plan", {
    p_plan_type: "starter",
    p_plan: { stripe_price_id: price },
    p_reason: "the example of Stripe's events",
  }),
);

// Who buys it: a user of their own.
const email = `buys-${crypto.randomUUID()}@example.com`;
const { data: created } = await supabase.auth.admin.createUser({ email, email_confirm: true });
const userId = created.user!.id;
const before = await balance();

/**
 * In the shape of 2024, when an invoice named its payment: since 2025-03-31 Stripe has to be asked for it, for which the
 * function needs STRIPE_SECRET_KEY, or STRIPE_API_BASE and something there that stands in for Stripe.
 */
const now = Math.floor(Date.now() / 1000);
const event = {
  id: `evt_${now}`,
  object: "event",
  api_version: "2024-06-20",
  type: "invoice.paid",
  created: now,
  livemode: false,
  data: {
    object: {
      id: `in_${userId}`,
      object: "invoice",
      billing_reason: "subscription_create",
      customer: `cus_${userId}`,
      subscription: `sub_${userId}`,
      subscription_details: { metadata: { user_id: userId } },
      payment_intent: `pi_${userId}`,
      amount_paid: 900,
      total: 900,
      currency: "usd",
      lines: {
        data: [
          { amount: 900, quantity: 1, price: { id: price }, period: { start: now, end: now + 2_592_000 } },
        ],
      },
    },
  },
};

for (const time of ["once", "again"]) {
  const payload = JSON.stringify(event);
  const response = await fetch(`${SUPABASE_URL}/functions/v1/stripe-webhook`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "stripe-signature": await Stripe.webhooks.generateTestHeaderStringAsync({ payload, secret }),
    },
    body: payload,
  });
  console.log(`${time}: ${response.status} ${await response.text()}`);
}
console.log(`${(await balance()) - before} tokens more`);

/** What the user can spend. */
async function balance(): Promise<number> {
  const { total_active } = await must(supabase.rpc("get_user_token_balance", { p_user_id: userId }));
  return total_active;
}

async function must<Data>(
  asked: PromiseLike<{ data: Data; error: Error | null }>,
): Promise<NonNullable<Data>> {
  const { data, error } = await asked;
  if (error !== null) throw error;
  return data!;
}
