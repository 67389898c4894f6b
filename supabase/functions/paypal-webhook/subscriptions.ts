/** How a subscription stands: PayPal's subscriptions, and the agreements that came before them (v1). */
import { z } from "zod";
import type { Catalogue } from "../_shared/catalogue.ts";
import { providerId as id } from "../_shared/provider-event.ts";
import { type ProviderEvent, type SubscriptionFacts, userId } from "../_shared/webhook.ts";
import { moment, type PaypalEvent } from "./event.ts";

const Subscription = z.object({
  id,
  status: z.string().optional(),
  state: z.string().optional(), // v1
  plan_id: id.optional(),
  custom_id: z.string().optional(),
  subscriber: z.object({ payer_id: id.optional() }).optional(),
  payer: z.object({ payer_info: z.object({ payer_id: id.optional() }).optional() }).optional(), // v1
  billing_info: z
    .object({ next_billing_time: moment.optional(), failed_payments_count: z.number().optional() })
    .optional(),
});

type Subscription = z.infer<typeof Subscription>;

export async function fromSubscription(
  event: PaypalEvent,
  catalogue: Catalogue,
): Promise<NonNullable<ProviderEvent["subscriptions"]>> {
  const subscription = event.resource(Subscription);
  const status = statusOf(event.type, subscription);
  if (status === undefined) return [];
  const { plan_id, billing_info } = subscription;
  const sold =
    plan_id === undefined ? undefined : (await catalogue.soldUnder("paypal", [plan_id])).get(plan_id);
  const facts: SubscriptionFacts = {
    kind: "subscription",
    status,
    user_id: userId(subscription.custom_id),
    customer_id: subscription.subscriber?.payer_id ?? subscription.payer?.payer_info?.payer_id,
    price_id: plan_id,
    ...sold,
    current_period_end: billing_info?.next_billing_time,
  };
  return [{ id: subscription.id, facts }];
}

/** Undefined while the buyer has not agreed to it yet. */
function statusOf(
  type: string,
  { status, state, billing_info }: Subscription,
): SubscriptionFacts["status"] | undefined {
  if (type === "BILLING.SUBSCRIPTION.PAYMENT.FAILED") return "past_due"; // PayPal still calls it active
  switch ((status ?? state ?? type.split(".").at(-1)!).toUpperCase()) {
    case "ACTIVE":
    case "ACTIVATED":
    case "RE-ACTIVATED":
      return "active";
    case "SUSPENDED":
      // Too many failed payments suspend it; so does a subscriber or merchant who pauses it.
      return billing_info?.failed_payments_count ? "past_due" : "paused";
    case "CANCELLED":
    case "CANCELED":
    case "EXPIRED":
      return "cancelled";
    default:
      return undefined;
  }
}
