import type { Stripe } from "stripe";
import { callSql, type Client } from "../_shared/sql.ts";
import { isStripeError } from "../_shared/stripe-api.ts";

/** The customers that our users are at Stripe: one each, made when there is none. */
export interface Customers {
  /**
   * Asks Stripe something about a user's customer.
   *
   * @param known the customer as the books have it. One that Stripe does not know (deleted there, or of test mode)
   *   is replaced
   */
  of<Result>(
    userId: string,
    known: string | null,
    ask: (customer: string) => Promise<Result>,
  ): Promise<Result>;
}

/** @param server the server's client: only it may say which customer a user is */
export function customersOf(api: Stripe, server: Client): Customers {
  /**
   * Nothing of the person is sent: Stripe asks for the address on its own page, and keeps it with the customer.
   * The key makes two requests at once make one customer.
   */
  async function make(userId: string, insteadOf: string | null): Promise<string> {
    const { id } = await api.customers.create(
      { metadata: { user_id: userId } },
      { idempotencyKey: `tokenbook-customer-${userId}-${insteadOf ?? "first"}` },
    );
    const { success } = await callSql<{ success: boolean }>(server, "set_token_customer", {
      p_user_id: userId,
      p_provider: "stripe",
      p_customer_id: id,
    });
    if (!success) throw new Error(`customer ${id} is another user's`);
    return id;
  }

  return {
    async of(userId, known, ask) {
      try {
        return await ask(known ?? (await make(userId, null)));
      } catch (error) {
        const isGone =
          isStripeError(error, "StripeInvalidRequestError") &&
          error.code === "resource_missing" &&
          error.param === "customer";
        if (!isGone) throw error;
        return await ask(await make(userId, known));
      }
    },
  };
}
