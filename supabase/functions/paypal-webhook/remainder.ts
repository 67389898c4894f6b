/** What is left of an event that says that money came, and cannot be read or asked about as a whole. */
import { z } from "zod";
import { known } from "../_shared/faults.ts";
import { unknownMoment, type Why } from "../_shared/parking.ts";
import { providerId } from "../_shared/provider-event.ts";
import { type ProviderEvent, userId } from "../_shared/webhook.ts";
import { moment, paidMoney } from "./event.ts";
import { ordered } from "./orders.ts";

/** Each field by itself, or not at all. */
const Remainder = z.object({
  create_time: moment.optional().catch(undefined),
  resource: z
    .object({
      id: providerId.optional().catch(undefined),
      amount: paidMoney.optional().catch(undefined),
      custom_id: z.string().optional().catch(undefined),
      billing_agreement_id: providerId.optional().catch(undefined),
      create_time: moment.optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
});

/** The types that say that money came. */
const ofMoney = new Set(["PAYMENT.CAPTURE.COMPLETED", "PAYMENT.SALE.COMPLETED"]);

/** The payment, to wait for an admin; undefined where no money came. */
export function remainderOf(
  eventId: string,
  type: string,
  body: unknown,
  why: Why,
): (Pick<ProviderEvent, "payments"> & { occurredAt: string }) | undefined {
  if (!ofMoney.has(type)) return undefined;
  const { create_time, resource = {} }: Partial<z.infer<typeof Remainder>> = known(Remainder, body) ?? {};
  const { user, name } = ordered(resource.custom_id ?? "");
  return {
    occurredAt: create_time ?? unknownMoment,
    payments: [
      {
        id: resource.id ?? eventId,
        facts: {
          kind: "paid",
          user_id: userId(user),
          price_id: name ?? resource.billing_agreement_id,
          amount_cents: resource.amount?.cents,
          currency: resource.amount?.currency,
          period_start: resource.billing_agreement_id && resource.create_time,
          ...why,
        },
      },
    ],
  };
}
