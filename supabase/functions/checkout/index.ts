/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/checkout
 *   { action: "buy", planType, successUrl, cancelUrl }                        a page to pay a plan at
 *   { action: "buy", packType, quantity, saveCard, successUrl, cancelUrl }    〃: so many of a pack, one if not said
 *   { action: "portal", returnUrl }        a page to change a card, end a subscription, see invoices
 *
 * Anyone for themself; an admin or the server for userId. With an idempotencyKey a request to buy that is sent again
 * gets the same page.
 * Answers { url }: a page of Stripe's, where the user is to be sent.
 *
 * The buyer, the plan or pack and its price are written into the page here, from the catalogue; none of it comes from
 * the request. What is paid arrives by stripe-webhook. docs/guides/checkout.md says how to set it up.
 */
import { endpoint } from "../_shared/endpoint.ts";
import { gate, userOrServer } from "../_shared/gate.ts";
import { operation } from "../_shared/operation.ts";
import { Action, act } from "./actions.ts";

export default {
  fetch: endpoint({ POST: gate(userOrServer, operation({ input: Action, admin: false }, act)) }),
};
