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
  /** What one of it costs, in the currency's smallest unit; undefined: there is no such plan or pack. */
  priceOf(thing: Thing): Promise<{ cents: number; currency: string } | undefined>;
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

    async priceOf(thing) {
      const [found] = rowsOf(
        "plan_type" in thing
          ? await client.from("token_plans").select("price_cents, currency").eq("plan_type", thing.plan_type)
          : await client.from("token_packs").select("price_cents, currency").eq("pack_type", thing.pack_type),
      );
      return found && { cents: found.price_cents, currency: found.currency };
    },
  };
}
