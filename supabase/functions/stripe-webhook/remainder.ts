/** What is left of an event that says that money came, and cannot be read or asked about as a whole. */
import { known } from "../_shared/faults.ts";
import type { Why } from "../_shared/parking.ts";
import { asId } from "./bought.ts";
import { type Event, Remainder } from "./objects.ts";
import type { Told } from "./told.ts";

/** The types that say that money came. */
const ofMoney = new Set([
  "checkout.session.completed",
  "checkout.session.async_payment_succeeded",
  "invoice.paid",
  "payment_intent.succeeded",
]);

/**
 * The payment, under the id that it is best known by, to wait for an admin; undefined where no money came, or where
 * another event says what was bought: a subscription's session has its invoice.
 */
export function remainderOf(
  { id, type, data }: Pick<Event, "id" | "type" | "data">,
  why: Why,
): Told | undefined {
  const it: Partial<Remainder> = known(Remainder, data.object) ?? {};
  const isNothing =
    it.mode === "setup" ||
    it.mode === "subscription" ||
    it.payment_status === "unpaid" ||
    (it.amount_paid === 0 && it.total !== undefined && it.total <= 0);
  if (!ofMoney.has(type) || isNothing) return undefined;
  const payment =
    type === "payment_intent.succeeded" ? it.id : (it.payment_intent ?? it.charge ?? it.invoice ?? it.id);
  const prices = it.lines?.data.flatMap((line) => asId(line?.price) ?? []) ?? [];
  return {
    payments: [
      {
        id: payment ?? id,
        facts: {
          kind: "paid",
          user_id:
            it.parent?.subscription_details?.metadata ?? it.subscription_details?.metadata ?? it.metadata,
          customer_id: asId(it.customer),
          price_id: prices[0],
          amount_cents: it.amount_total ?? it.amount_paid ?? it.amount_received,
          currency: it.currency,
          ...why,
        },
      },
    ],
  };
}
