import { z } from "zod";
import { configured } from "../_shared/configured.ts";
import type { Context } from "../_shared/database.ts";
import { smallInteger, text, uuid } from "../_shared/fields.ts";
import type { Sql } from "../_shared/operation.ts";
import { requiredStripeApi } from "../stripe-webhook/api.ts";
import { allowedAddresses } from "./addresses.ts";
import { customersOf } from "./customers.ts";
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

/** Makes the page; who may, and what is sold to whom, is SQL's to say. */
export async function act(action: z.infer<typeof Action>, sql: Sql, context: Context): Promise<object> {
  const api = configured(() => requiredStripeApi("nothing can be bought"));
  const address = configured(allowedAddresses);
  const userId = action.userId ?? context.userClaims?.id ?? null; // the server must say for whom
  const customers = customersOf(api, context.supabaseAdmin);

  if (action.action === "portal") {
    const return_url = address("returnUrl", action.returnUrl);
    const { user_id, customer_id } = await sql<{ user_id: string; customer_id: string | null }>(
      "get_token_customer",
      { p_user_id: userId },
    );
    return await inOurWords(async () => {
      const { url } = await customers.of(user_id, customer_id, (customer) =>
        api.billingPortal.sessions.create({ customer, return_url }),
      );
      return { url };
    });
  }

  const addresses = {
    success_url: address("successUrl", action.successUrl),
    cancel_url: address("cancelUrl", action.cancelUrl),
  };
  const offer = await sql<Offer>("prepare_token_checkout", {
    p_user_id: userId,
    p_plan_type: action.planType,
    p_pack_type: action.packType,
    p_quantity: action.quantity,
    p_idempotency_key: action.idempotencyKey,
  });
  return await inOurWords(() =>
    customers.of(offer.user_id, offer.customer_id, (customer) =>
      openCheckout(api, customer, offer, { ...addresses, saveCard: action.saveCard ?? false }),
    ),
  );
}
