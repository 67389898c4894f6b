import { type Client, rowsOf } from "./sql.ts";

/** The columns of `token_plans` that hold a provider's name for a plan. */
export type PriceColumn = "stripe_price_id" | "paypal_plan_id";

/** What webhooks ask our catalogue. Plans that are no longer offered count: they still renew. */
export interface Catalogue {
  /** The plans that a provider knows under these ids, by id. Ids that are not ours are left out. */
  plansOf(column: PriceColumn, ids: readonly string[]): Promise<Map<string, string>>;
  /** Whether there is such a plan and it costs exactly this. */
  costs(planType: string, amountCents: number, currency: string): Promise<boolean>;
}

/** @param client one that may read `token_plans` */
export function catalogueOf(client: Client): Catalogue {
  return {
    async plansOf(column, ids) {
      if (ids.length === 0) return new Map();
      const answer = await client.from("token_plans").select(`plan_type, ${column}`).in(column, ids);
      const rows = rowsOf<Record<string, string>>(answer as never);
      return new Map(rows.map((row) => [row[column]!, row["plan_type"]!]));
    },

    async costs(planType, amountCents, currency) {
      const [plan] = rowsOf(
        await client.from("token_plans").select("price_cents, currency").eq("plan_type", planType),
      );
      return (
        plan !== undefined &&
        plan.price_cents === amountCents &&
        plan.currency.toLowerCase() === currency.toLowerCase()
      );
    },
  };
}
