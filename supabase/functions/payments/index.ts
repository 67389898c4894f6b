/// <reference types="npm:@supabase/functions-js@2.109.0/src/edge-runtime.d.ts" />
/**
 * GET /functions/v1/payments?status=&userId=&limit=
 *
 * Payments, newest first: a user's own; for an admin or the server everyone's, and beside them
 * those that are parked because nobody knows whose they are.
 * Answers { payments: [...] }, to an admin { payments, parked } with what list_parked_token_payments returns.
 *
 * POST /functions/v1/payments
 *   { action: "create", toPlan, userId, idempotencyKey }       anyone for himself: asks for a plan
 *   { action: "approve", userId, paymentId, reason }           an admin, or the server
 *   { action: "reject", userId, paymentId, reason }            〃
 *   { action: "refund", userId, paymentId, reason, refundedCents }        〃: of a manual payment
 *   { action: "assign", provider, providerPaymentId, userId, planType }   〃: says whose a parked one is
 *
 * Answers what create_token_payment, approve_token_payment, reject_token_payment, refund_token_payment and assign_parked_token_payment return.
 */
import { withSupabase } from "@supabase/server";
import type { Database } from "../_shared/database.ts";
import { endpoint } from "../_shared/endpoint.ts";
import { callers, operation } from "../_shared/operation.ts";
import { Action, act } from "./actions.ts";
import { listPayments, Query } from "./list.ts";

export default {
  fetch: endpoint({
    GET: withSupabase<Database>(callers, operation({ input: Query, admin: false }, listPayments)),
    POST: withSupabase<Database>(callers, operation({ input: Action, admin: false }, act)),
  }),
};
