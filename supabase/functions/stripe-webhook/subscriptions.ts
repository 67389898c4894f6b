/**
 * What Stripe's events say about subscriptions. What a subscription has paid for, its invoices say; here is whether
 * it goes on.
 */
import type { Catalogue } from "../_shared/catalogue.ts";
import { read } from "../_shared/provider-event.ts";
import type { SubscriptionFacts } from "../_shared/webhook.ts";
import { asId } from "./bought.ts";
import { type Event, Invoice, Subscription } from "./objects.ts";
import { nothing, type Told, whence } from "./told.ts";

/**
 * Stripe's statuses. `unpaid` is where retries have ended and nobody has cancelled: what was paid for before runs
 * out as it does when a payment is late. Collection that is paused (`pause_collection`) leaves a subscription
 * active, as Stripe documents it: the customer keeps what they have.
 */
const statuses: Record<string, SubscriptionFacts["status"]> = {
  trialing: "active",
  active: "active",
  past_due: "past_due",
  unpaid: "past_due",
  paused: "paused",
  canceled: "cancelled",
};

/** `customer.subscription.*`: each has the whole subscription as it was at that moment. */
export async function fromSubscription(event: Event, catalogue: Catalogue): Promise<Told> {
  const it = read(Subscription, event.data.object, whence(event), ["data", "object"]);
  const status = statuses[it.status];
  if (it.status === "incomplete" || it.status === "incomplete_expired") {
    return nothing("the subscription has not begun: its first payment was not made");
  }
  if (status === undefined) return nothing("the subscription has a status that is not known here");
  const sold = await catalogue.soldUnder("stripe", [
    ...new Set(it.items.flatMap(({ price }) => price ?? [])),
  ]);
  const planOf = (price: string | null | undefined) => {
    const thing = sold.get(price ?? "");
    return thing !== undefined && "plan_type" in thing ? thing.plan_type : undefined;
  };
  const item = it.items.find(({ price }) => planOf(price) !== undefined) ?? it.items[0];
  const periodEnd = item?.current_period_end;
  const facts: SubscriptionFacts = {
    kind: "subscription",
    user_id: it.metadata,
    customer_id: asId(it.customer),
    plan_type: planOf(item?.price),
    price_id: asId(item?.price),
    status,
    cancel_at:
      status === "cancelled"
        ? (it.ended_at ?? event.created)
        : (it.cancel_at ?? (it.cancel_at_period_end === true ? periodEnd : undefined)),
    // A period that has not been paid for is Stripe's, not the user's.
    current_period_end: status === "past_due" ? undefined : periodEnd,
  };
  return { payments: [], subscriptions: [{ id: it.id, facts }] };
}

/** `invoice.payment_failed`: of a subscription that has begun. */
export function fromFailedPayment(event: Event): Told {
  const invoice = read(Invoice, event.data.object, whence(event), ["data", "object"]);
  if (invoice.subscription == null)
    return nothing("no subscription's payment failed: nothing was given for it");
  if (invoice.billing_reason === "subscription_create") {
    return nothing("the subscription has not begun: its first payment was not made");
  }
  const facts: SubscriptionFacts = {
    kind: "subscription",
    user_id: invoice.user,
    customer_id: asId(invoice.customer),
    status: "past_due",
  };
  return { payments: [], subscriptions: [{ id: invoice.subscription, facts }] };
}
