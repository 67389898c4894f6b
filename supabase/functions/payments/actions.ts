import { z } from "zod";
import type { Context } from "../_shared/database.ts";
import { integer, smallInteger, text, uuid } from "../_shared/fields.ts";
import type { Sql } from "../_shared/operation.ts";

const Create = z.strictObject({
  action: z.literal("create"),
  planType: text.optional(),
  packType: text.optional(),
  quantity: smallInteger.optional(),
  userId: uuid.optional(),
  idempotencyKey: text.optional(),
});

const decision = { userId: uuid, paymentId: uuid };

const Approve = z.strictObject({ action: z.literal("approve"), ...decision, reason: text.optional() });

const Reject = z.strictObject({ action: z.literal("reject"), ...decision, reason: text });

const Refund = z.strictObject({
  action: z.literal("refund"),
  ...decision,
  reason: text,
  refundedCents: integer.optional(),
});

const Assign = z.strictObject({
  action: z.literal("assign"),
  provider: text,
  providerPaymentId: text,
  userId: uuid,
  planType: text.optional(),
  packType: text.optional(),
  quantity: smallInteger.optional(),
});

const Dismiss = z.strictObject({
  action: z.literal("dismiss"),
  provider: text,
  providerPaymentId: text,
  reason: text,
});

const AssignCustomer = z.strictObject({
  action: z.literal("assignCustomer"),
  provider: text,
  customerId: text,
  userId: uuid,
  replace: z.boolean("true or false").optional(),
  reason: text.optional(),
});

const actions = [Create, Approve, Reject, Refund, Assign, AssignCustomer, Dismiss] as const;

/** What can be done with a payment, and with a provider's customer. */
export const Action = z.discriminatedUnion("action", actions, {
  error: (issue) =>
    issue.code === "invalid_union"
      ? "create, approve, reject, refund, assign, assignCustomer or dismiss"
      : undefined,
});

/** Does it; SQL decides who may. */
export function act(action: z.infer<typeof Action>, sql: Sql, context: Context): Promise<object> {
  switch (action.action) {
    case "create":
      return sql("create_token_payment", {
        p_user_id: action.userId ?? context.userClaims?.id ?? null, // the server must say for whom
        p_to_plan: action.planType,
        p_pack_type: action.packType,
        p_quantity: action.quantity,
        p_idempotency_key: action.idempotencyKey,
      });
    case "approve":
      return sql("approve_token_payment", {
        p_user_id: action.userId,
        p_payment_id: action.paymentId,
        p_reason: action.reason,
      });
    case "reject":
      return sql("reject_token_payment", {
        p_user_id: action.userId,
        p_payment_id: action.paymentId,
        p_reason: action.reason,
      });
    case "refund":
      return sql("refund_token_payment", {
        p_user_id: action.userId,
        p_payment_id: action.paymentId,
        p_reason: action.reason,
        p_refunded_cents: action.refundedCents,
      });
    case "assign":
      return sql("assign_parked_token_payment", {
        p_provider: action.provider,
        p_provider_payment_id: action.providerPaymentId,
        p_user_id: action.userId,
        p_plan_type: action.planType,
        p_pack_type: action.packType,
        p_quantity: action.quantity,
      });
    case "assignCustomer":
      return sql("set_token_customer", {
        p_user_id: action.userId,
        p_provider: action.provider,
        p_customer_id: action.customerId,
        p_replace: action.replace,
        p_reason: action.reason,
      });
    case "dismiss":
      return sql("dismiss_parked_token_payment", {
        p_provider: action.provider,
        p_provider_payment_id: action.providerPaymentId,
        p_reason: action.reason,
      });
  }
}
