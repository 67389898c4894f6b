import { limits } from "./lists.ts";
import { type Client, rowsOf } from "./sql.ts";

/** What is sold: a plan, or a pack. As `record_token_payment_event` takes it. */
export type Thing = { plan_type: string } | { pack_type: string };

/** What webhooks ask our catalogue. What is no longer offered counts: plans still renew. */
export interface Catalogue {
  /**
   * What is sold under these ids of a provider (Stripe's prices, PayPal's plans), by id. What a price was
   * called before counts too: subscriptions go on at it. Ids that are not ours are left out.
   */
  soldUnder(provider: "stripe" | "paypal", ids: readonly string[]): Promise<Map<string, Thing>>;
  /**
   * Whether there is such a plan or pack, and so many of it cost exactly this. A plan is sold once, packs by the
   * quantity.
   */
  costs(thing: Thing, quantity: number, amountCents: number, currency: string): Promise<boolean>;
}

/** @param client one that may read the catalogue */
export function catalogueOf(client: Client): Catalogue {
  return {
    async soldUnder(provider, ids) {
      if (ids.length === 0) return new Map();
      const rows = rowsOf(
        await client
          .from("token_price_ids")
          .select("price_id, plan_type, pack_type")
          .eq("provider", provider)
          .in("price_id", ids),
      );
      return new Map(
        rows.map(({ price_id, plan_type, pack_type }) => [
          price_id!,
          pack_type === null ? { plan_type: plan_type! } : { pack_type },
        ]),
      );
    },

    async costs(thing, quantity, amountCents, currency) {
      const isPlan = "plan_type" in thing;
      if (!Number.isInteger(quantity) || quantity < 1 || quantity > (isPlan ? 1 : limits.pack_quantity)) {
        return false;
      }
      const [found] = rowsOf(
        isPlan
          ? await client.from("token_plans").select("price_cents, currency").eq("plan_type", thing.plan_type)
          : await client.from("token_packs").select("price_cents, currency").eq("pack_type", thing.pack_type),
      );
      return (
        found !== undefined &&
        found.price_cents * quantity === amountCents &&
        found.currency.toLowerCase() === currency.toLowerCase()
      );
    },
  };
}
