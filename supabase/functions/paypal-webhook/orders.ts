/** Orders: what a buyer pays once, a capture each. */
import { z } from "zod";
import type { Catalogue, Thing } from "../_shared/catalogue.ts";
import { limits } from "../_shared/lists.ts";
import type { Why } from "../_shared/parking.ts";
import { providerId as id } from "../_shared/provider-event.ts";
import { type PaidFacts, type ProviderEvent, userId } from "../_shared/webhook.ts";
import { paidMoney, type PaypalEvent } from "./event.ts";
import type { Money } from "./money.ts";

const Capture = z.object({ id, amount: paidMoney, custom_id: z.string().optional() });

/**
 * Our server wrote `<user id>:<plan>` or `<user id>:pack:<pack>:<quantity>` into its custom_id; a buyer
 * whose page makes the order writes it themselves, and the amount too. So what it names counts only where
 * exactly its price was paid.
 */
export async function fromCapture(
  event: PaypalEvent,
  catalogue: Catalogue,
): Promise<ProviderEvent["payments"]> {
  const capture = event.resource(Capture);
  const { user, name, thing, quantity } = ordered(capture.custom_id ?? "");
  const facts: PaidFacts = {
    kind: "paid",
    user_id: userId(user),
    price_id: name,
    amount_cents: capture.amount.cents,
    currency: capture.amount.currency,
  };
  const fault = await faultOf(thing, quantity, capture.amount, catalogue);
  if (fault !== undefined) Object.assign(facts, fault);
  else Object.assign(facts, thing, quantity > 1 && { quantity });
  return [{ id: capture.id, facts }];
}

interface Order {
  user: string | undefined;
  /** As it is written, for the admin who has to say what was bought. */
  name?: string;
  thing?: Thing;
  quantity: number;
}

export function ordered(customId: string): Order {
  const [user, ...words] = customId.split(":");
  const order: Order = { user, quantity: 1 };
  if (!words.every((word) => /^[a-z0-9_]{1,64}$/.test(word))) return order;
  const [first, pack, count] = words;
  if (words.length === 1) return { ...order, name: first!, thing: { plan_type: first! } };
  if (words.length !== 3 || first !== "pack") return order;
  const quantity = /^\d{1,6}$/.test(count!) ? Number(count) : 0;
  return { user, name: words.join(":"), thing: { pack_type: pack! }, quantity };
}

/** Why what was paid does not buy that; nothing if it does. */
async function faultOf(
  thing: Thing | undefined,
  quantity: number,
  paid: Money,
  catalogue: Catalogue,
): Promise<Why | undefined> {
  if (thing === undefined) return { parked_reason: "nothing_named" };
  const price = await catalogue.priceOf(thing);
  if (price === undefined) return { parked_reason: "price_unknown" };
  if (quantity < 1) return { parked_reason: "quantity_unknown" };
  if (quantity > limits.pack_quantity) {
    return { parked_reason: "quantity", parked_details: { quantity, at_most: limits.pack_quantity } };
  }
  const cents = price.cents * quantity;
  const isItsCurrency = price.currency.toLowerCase() === paid.currency.toLowerCase();
  if (isItsCurrency && cents === paid.cents) return undefined;
  return {
    parked_reason: isItsCurrency ? "amount_differs" : "currency_differs",
    parked_details: { expected_cents: cents, expected_currency: price.currency },
  };
}
