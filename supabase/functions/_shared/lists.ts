// Generated from the database by `npm run types`. Do not edit.

/** Limits, and what holds when nothing is said. */
export const limits = {
  tokens: 1000000000000,
  due_holds: 200,
  due_grants: 1000,
  open_holds: 200,
  usage_rows: 25000,
  batch_bytes: 1048576,
  batch_items: 1000,
  grant_types: 100,
  pack_tokens: 1000000000,
  report_rows: 5000,
  slot_tokens: 100000000,
  hold_seconds: 900,
  plans_beside: 100,
  code_attempts: 10,
  pack_quantity: 1000,
  report_totals: 100000,
  upcoming_grants: 100,
  payment_disputes: 200,
  pending_payments: 20,
  restricted_grants: 100,
  slots_in_one_grant: 10000,
  grants_in_one_entry: 10000,
  code_attempt_seconds: 3600,
  hold_seconds_at_most: 86400,
} as const;

/** Types of grants that every project has (its own are in `token_grant_types`): how many hours one lives when nothing else is said (`null`: for ever), whether it must run out at some time, and the `action_type` of its transaction. */
export const grantTypes = {
  plan: { must_end: false, action_type: "subscription_grant", lifetime_hours: null },
  "28day": { must_end: true, action_type: "subscription_grant", lifetime_hours: 2160 },
  admin: { must_end: false, action_type: "admin_grant", lifetime_hours: 8760 },
  bonus: { must_end: false, action_type: "bonus_grant", lifetime_hours: null },
  trial: { must_end: true, action_type: "trial_grant", lifetime_hours: 1344 },
  annual: { must_end: true, action_type: "subscription_grant", lifetime_hours: 8760 },
  purchase: { must_end: false, action_type: "token_pack_purchase", lifetime_hours: null },
} as const;

/** Kinds of alerts: what a rule of that kind asks for (`null`: no rule is of it), what an alert is about, and whether its end can be one too. */
export const alertKinds = {
  dropped: { asks: "threshold", ends: true, about: "crossing" },
  depleted: { asks: "nothing", ends: true, about: "crossing" },
  recovered: { asks: null, ends: false, about: "crossing" },
  expiring_soon: { asks: "hours", ends: false, about: "grant" },
  model_unknown: { asks: null, ends: false, about: "moment" },
  top_up_failed: { asks: null, ends: false, about: "request" },
  payment_parked: { asks: null, ends: true, about: "moment" },
  top_up_requested: { asks: null, ends: false, about: "request" },
  subscription_ended: { asks: null, ends: false, about: "moment" },
  top_up_needs_action: { asks: null, ends: false, about: "request" },
  payment_contradicted: { asks: null, ends: false, about: "moment" },
  subscription_past_due: { asks: null, ends: false, about: "moment" },
} as const;

/** Kinds of events, which webhooks tell of, and what their `data` says beside `user_id`. */
export const eventKinds = {
  "token_grant.made":
    "transaction_id, tokens, tokens_remaining, grant_id, grant_type, action_type, expires_at, payment_id",
  "token_cap.reached": "scope, window, limit, used, resets_at, tokens, member_id",
  "token_plan.changed": "plan_type, previous_plan_type, expires_at",
  "token_alert.dropped": "alert_id, kind, rule and the payload of token_alerts",
  "token_grant.expired": "transaction_id, tokens, tokens_remaining, grant_id",
  "token_account.frozen": "actor_role",
  "token_alert.depleted": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.recovered": "alert_id, kind, rule and the payload of token_alerts",
  "token_account.unfrozen": "actor_role",
  "token_payment.approved":
    "payment_id, provider, provider_payment_id, plan_type, pack_type, quantity, amount_cents, currency, tokens",
  "token_payment.refunded": "the same, and status, refunded_cents, disputed_cents, tokens_clawed_back",
  "token_payment.restored": "the same",
  "token_alert.expiring_soon": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.model_unknown": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.top_up_failed": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.payment_parked": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.top_up_requested": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.subscription_ended": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.top_up_needs_action": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.payment_contradicted": "alert_id, kind, rule and the payload of token_alerts",
  "token_alert.subscription_past_due": "alert_id, kind, rule and the payload of token_alerts",
} as const;
