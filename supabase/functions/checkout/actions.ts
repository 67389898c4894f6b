import type { Stripe } from "stripe";
import { z } from "zod";
import { configured } from "../_shared/configured.ts";
import type { Context } from "../_shared/database.ts";
import { smallInteger, text, uuid } from "../_shared/fields.ts";
import type { Sql } from "../_shared/operation.ts";
import { Refusal } from "../_shared/problem.ts";
import { requiredStripeApi } from "../_shared/stripe-api.ts";
import { allowedAddresses } from "./addresses.ts";
import { type Customers, customersOf } from "./customers.ts";
import { inOurWords } from "./refusals.ts";
import { type Offer, openCheckout } from "./sessions.ts";

const Buy = z.strictObject({
  action: z.literal("buy"),
  planType: text.optional(),
  packType: text.optional(),
  quantity: smallInteger.optional(),
  saveCard: z.boolean("true or false").optional(),
  successUrl: text,
  cancelUrl: text,
  userId: uuid.optional(),
  idempotencyKey: text.optional(),
});

const Portal = z.strictObject({
  action: z.literal("portal"),
  returnUrl: text,
  userId: uuid.optional(),
});

/** What can be asked for. */
export const Action = z.discriminatedUnion("action", [Buy, Portal], {
  error: (issue) => (issue.code === "invalid_union" ? "buy or portal" : undefined),
});

/**
 * Makes the page; SQL decides who may call it, and what is sold to whom. SQL is asked before the settings are read:
 * a caller with a bad request learns that, and not which setting is missing.
 */
export async function act(action: z.infer<typeof Action>, sql: Sql, context: Context): Promise<object> {
  const userId = action.userId ?? context.userClaims?.id ?? null; // the server must say for whom
  if (action.action === "portal") {
    const { user_id, customer_id } = await sql<{ user_id: string; customer_id: string | null }>(
      "get_token_customer",
      { p_user_id: userId },
    );
    const return_url = configured(allowedAddresses)("returnUrl", action.returnUrl);
    return await withStripe(context, async (api, customers) => {
      const { url } = await customers.of(user_id, customer_id, (customer) =>
        api.billingPortal.sessions.create({ customer, return_url }),
      );
      return { url };
    });
  }

  const offer = await offerOf(sql, {
    p_user_id: userId,
    p_plan_type: action.planType,
    p_pack_type: action.packType,
    p_quantity: action.quantity,
    p_idempotency_key: action.idempotencyKey,
  });
  const address = configured(allowedAddresses);
  const choices = {
    success_url: address("successUrl", action.successUrl),
    cancel_url: address("cancelUrl", action.cancelUrl),
    saveCard: action.saveCard ?? false,
  };
  return await withStripe(context, (api, customers) =>
    customers.of(offer.user_id, offer.customer_id, (customer) => openCheckout(api, customer, offer, choices)),
  );
}

/** What is not for sale is a fault of the catalogue's, so the log has it too. */
async function offerOf(sql: Sql, args: Record<string, unknown>): Promise<Offer> {
  try {
    return await sql<Offer>("prepare_token_checkout", args);
  } catch (error) {
    if (!(error instanceof Refusal) || error.slug !== "not_for_sale") throw error;
    const what = String(args["p_plan_type"] ?? args["p_pack_type"]);
    const cause = new Error(`${what} is not for sale: it is not ${String(error.facts.rule)}`);
    throw new Refusal(error.slug, error.facts, { cause });
  }
}

function withStripe<Result>(
  { supabaseAdmin }: Context,
  ask: (api: Stripe, customers: Customers) => Promise<Result>,
): Promise<Result> {
  const api = configured(() => requiredStripeApi("nothing can be bought"));
  return inOurWords(() => ask(api, customersOf(api, supabaseAdmin)));
}
