/*
 * The kinds of events, which webhooks tell of: each alert (token_alert. and its kind), and what happens to grants, payments, plans, caps and
 * accounts. Of the latter: what data says beside user_id. The one list: set_token_webhook_endpoint and the reference
 * have it from here, and the edge functions (_shared/lists.ts). A kind that is added here can be asked for; the code
 * that raises it is written separately.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.event_kinds()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select jsonb_object_agg('token_alert.' || k.kind, 'alert_id, kind, rule and the payload of token_alerts')
            from jsonb_object_keys(tokenbook.alert_kinds()) as k (kind))
    || '{"token_grant.made":       "transaction_id, tokens, tokens_remaining, grant_id, grant_type, action_type, expires_at, payment_id",
         "token_grant.expired":    "transaction_id, tokens, tokens_remaining, grant_id",
         "token_payment.approved": "payment_id, provider, provider_payment_id, plan_type, pack_type, quantity, amount_cents, currency, tokens",
         "token_payment.refunded": "the same, and status, refunded_cents, disputed_cents, tokens_clawed_back",
         "token_payment.restored": "the same",
         "token_plan.changed":     "plan_type, previous_plan_type, expires_at",
         "token_cap.reached":      "scope, window, limit, used, resets_at, tokens, member_id",
         "token_account.frozen":   "actor_role",
         "token_account.unfrozen": "actor_role"}';
end
$$;
comment on function tokenbook.event_kinds is
  'The kinds of events: {kind: what its data says beside user_id}.';
