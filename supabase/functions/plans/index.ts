/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * GET /functions/v1/plans
 *
 * What is offered: the plans, lowest rank first, and the packs, smallest first. For everyone, signed in or not.
 * Answers { plans: [{ plan_type, name, tokens, articles_limit, storage_gb, price_cents, currency,
 * billing_cycle, issue_every, issue_on, refill_to, tokens_per_period, grant_lifetime_days, rank, features }], packs: [{ pack_type, name, tokens, lifetime_days, price_cents, currency }] }.
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
      operation({ input: Query, admin: false }, async (_, _sql, { supabase }) => {
        const [plans, packs] = await Promise.all([
          supabase
            .from("token_plans")
            .select(
              "plan_type, name, tokens, articles_limit, storage_gb, price_cents, currency, billing_cycle, issue_every, issue_on, refill_to, tokens_per_period, grant_lifetime_days, rank, features",
            )
            .eq("is_offered", true)
            .order("rank"),
          supabase
            .from("token_packs")
            .select("pack_type, name, tokens, lifetime_days, price_cents, currency")
            .eq("is_offered", true)
            .order("tokens")
            .order("pack_type"),
        ]);
        return { plans: rowsOf(plans), packs: rowsOf(packs) };
      }),
    ),
  }),
};
