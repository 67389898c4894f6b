/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * GET /functions/v1/plans
 *
 * The plans that are offered, lowest rank first. For everyone, signed in or not.
 * Answers { plans: [{ plan_type, name, tokens, articles_limit, storage_gb, price_cents, currency,
 * billing_cycle, rank, features }] }.
 */
import { z } from "zod";
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { operation } from "../_shared/operation.ts";
import { rowsOf } from "../_shared/sql.ts";

const Query = z.strictObject({});

export default {
  fetch: endpoint({
    GET: gate(
      "none",
      operation({ input: Query, admin: false }, async (_, _sql, { supabase }) => ({
        plans: rowsOf(
          await supabase
            .from("token_plans")
            .select(
              "plan_type, name, tokens, articles_limit, storage_gb, price_cents, currency, billing_cycle, rank, features",
            )
            .eq("is_offered", true)
            .order("rank"),
        ),
      })),
    ),
  }),
};
