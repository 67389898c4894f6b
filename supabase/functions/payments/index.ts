/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * GET /functions/v1/payments?status=&userId=&limit=&order=&after=
 *
 * Payments, newest first (order=oldest: the other way round), in pages: after is the next_after of the page before, in
 * the same order. A payment that is being asked for while the pages are read may be missing: read again.
 * A user's own; for an admin or the server everyone's, and beside them
 * those that are parked because nobody knows whose they are.
 * Each says the terms it was asked for at; to an admin also what the catalogue says now (offer_now) and how that
 * differs, what else a provider's events name than is booked (disagrees), and the address of the user who asked for it (email).
 * Answers { payments: [...], next_after (null on the last page) }; to an admin also parked, with as many of what
 * list_parked_token_payments returns.
 *
 * POST /functions/v1/payments
 *   { action: "create", planType, userId, idempotencyKey }     anyone for themself: asks for a plan
 *   { action: "create", packType, quantity, userId, idempotencyKey }      〃: or for packs
 *   { action: "approve", userId, paymentId, reason }           an admin, or the server
 *   { action: "reject", userId, paymentId, reason }            〃
 *   { action: "refund", userId, paymentId, reason, refundedCents }        〃: of a manual payment
 *   { action: "assign", provider, providerPaymentId, userId, planType }   〃: says whose a parked one is, and for what
 *                                                                         (planType, or packType and quantity)
 *   { action: "assignCustomer", provider, customerId, userId, replace, reason }  〃: says whose payments a customer's are
 *   { action: "dismiss", provider, providerPaymentId, reason }            〃: takes a parked one off the list
 *
 * Answers what create_token_payment, approve_token_payment, reject_token_payment, refund_token_payment,
 * assign_parked_token_payment, set_token_customer and dismiss_parked_token_payment return.
 */
import { endpoint } from "../_shared/endpoint.ts";
import { gate, userOrServer } from "../_shared/gate.ts";
import { operation } from "../_shared/operation.ts";
import { Action, act } from "./actions.ts";
import { listPayments, Query } from "./list.ts";

export default {
  fetch: endpoint({
    GET: gate(userOrServer, operation({ input: Query, admin: false }, listPayments)),
    POST: gate(userOrServer, operation({ input: Action, admin: false }, act)),
  }),
};
