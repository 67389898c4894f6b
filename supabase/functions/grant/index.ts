/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/grant
 *   { userId, tokens, grantType, expiresAt, priority, grantedAt, startsAt, reason,
 *     idempotencyKey, metadata }
 *
 * Gives tokens to a user; userId and tokens are required. For an admin, or the server (which alone
 * may set grantedAt). With startsAt it is a grant to come. Answers what grant_tokens returns.
 */
import { z } from "zod";
import { endpoint } from "../_shared/endpoint.ts";
import { gate, userOrServer } from "../_shared/gate.ts";
import { integer, jsonObject, moment, momentOrNever, smallInteger, text, uuid } from "../_shared/fields.ts";
import { operation } from "../_shared/operation.ts";

const Body = z.strictObject({
  userId: uuid,
  tokens: integer,
  grantType: text.optional(),
  expiresAt: momentOrNever.optional(),
  priority: smallInteger.optional(),
  grantedAt: moment.optional(),
  startsAt: moment.optional(),
  reason: text.optional(),
  idempotencyKey: text.optional(),
  metadata: jsonObject.optional(),
});

export default {
  fetch: endpoint({
    POST: gate(
      userOrServer,
      operation({ input: Body, admin: true }, (body, sql) =>
        sql("grant_tokens", {
          p_user_id: body.userId,
          p_tokens: body.tokens,
          p_grant_type: body.grantType,
          p_expires_at: body.expiresAt,
          p_priority: body.priority,
          p_granted_at: body.grantedAt,
          p_reason: body.reason,
          p_idempotency_key: body.idempotencyKey,
          p_metadata: body.metadata,
          p_starts_at: body.startsAt,
        }),
      ),
    ),
  }),
};
