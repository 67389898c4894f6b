/** What was bought, by the prices that were paid. */
import type { Catalogue } from "../_shared/catalogue.ts";
import { limits } from "../_shared/lists.ts";
import type { PaidFacts } from "../_shared/webhook.ts";

/** A line of a session or of an invoice. */
export interface Line {
  price?: string | null | undefined;
  /** null where Stripe counts use instead. */
  quantity?: number | null | undefined;
}

/**
 * The one thing of ours among what was bought, and how many of it. What is not ours counts for nothing: a fee for
 * setting up, a shirt. Two things of ours are for an admin to say: were each given, nobody could tell of which one
 * a refund is.
 */
export async function bought(
  lines: readonly Line[],
  catalogue: Catalogue,
): Promise<
  Pick<PaidFacts, "plan_type" | "pack_type" | "quantity" | "price_id" | "parked_reason" | "parked_details">
> {
  const prices = [...new Set(lines.flatMap(({ price }) => price ?? []))];
  const sold = await catalogue.soldUnder("stripe", prices);
  const ours = lines.flatMap(({ price, quantity }) => {
    const thing = sold.get(price ?? "");
    return thing === undefined ? [] : [{ thing, price: price!, quantity: quantity ?? 0 }];
  });
  const [first] = ours;
  if (first === undefined) {
    return prices[0] === undefined
      ? { parked_reason: "nothing_named" }
      : { price_id: asId(prices[0]), parked_reason: "price_unknown" };
  }
  const price_id = asId(first.price);
  if (new Set(ours.map(({ thing }) => JSON.stringify(thing))).size > 1) {
    return { price_id, parked_reason: "several_things" };
  }
  const quantity = ours.reduce((sum, line) => sum + line.quantity, 0);
  // How many there may be of a plan or of a pack, the books know; how many there were must be a number to them.
  if (quantity < 1) return { price_id, parked_reason: "quantity_unknown" };
  if (quantity > 999_999_999) {
    const at_most = "plan_type" in first.thing ? 1 : limits.pack_quantity;
    return { price_id, parked_reason: "quantity", parked_details: { quantity, at_most } };
  }
  return { ...first.thing, quantity, price_id };
}

/** A name at Stripe as the books keep one: a project that named its customers or prices itself may have others. */
export function asId(name: string | null | undefined): string | undefined {
  return name != null && /^[A-Za-z0-9._:-]{1,255}$/.test(name) ? name : undefined;
}
