/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/admin-adjust { userId, delta, reason, idempotencyKey, metadata }
 *
 * Corrects a balance: an admin grant when delta is positive, a deduction oldest first when it is
 * negative; userId and delta are required. For an admin, or the server.
 * Answers what adjust_tokens returns; short of tokens, 402 with nothing changed.
 */
import { z } from "zod";
import { endpoint } from "../_shared/endpoint.ts";
import { gate, userOrServer } from "../_shared/gate.ts";
import { integer, jsonObject, text, uuid } from "../_shared/fields.ts";
import { operation } from "../_shared/operation.ts";
import { Refusal } from "../_shared/problem.ts";

const Body = z.strictObject({
  userId: uuid,
  delta: integer,
  reason: text.optional(),
  idempotencyKey: text.optional(),
  metadata: jsonObject.optional(),
});

export default {
  fetch: endpoint({
    POST: gate(
      userOrServer,
      operation({ input: Body, admin: true }, async (body, sql) => {
        const receipt = await sql<{ success: boolean; tokens_remaining: number }>("adjust_tokens", {
          p_user_id: body.userId,
          p_delta: body.delta,
          p_reason: body.reason,
          p_idempotency_key: body.idempotencyKey,
          p_metadata: body.metadata,
        });
        if (!receipt.success) {
          throw new Refusal("insufficient_balance", {
            required: -body.delta,
            available: receipt.tokens_remaining,
          });
        }
        return receipt;
      }),
    ),
  }),
};
