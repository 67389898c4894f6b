/*
 * The rights of each role: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything of ours is taken away first, then given by name. Nothing here names
 * an object of the project that Tokenbook is installed into.
 *
 * "Self" and "admins" below are decided in tokenbook.authorize: a signed-in user may act for
 * themselves, an admin for anyone. No role writes a table except through the functions.
 */
select tokenbook.withdraw_rights('schema', 'tokenbook'::regnamespace);
select tokenbook.withdraw_rights(case c.relkind when 'S' then 'sequence' else 'table' end, c.oid)
  from pg_class c where c.relnamespace = 'tokenbook'::regnamespace and c.relkind in ('r', 'p', 'v', 'S');
select tokenbook.withdraw_rights('function', p.oid)
  from pg_proc p where p.pronamespace = 'tokenbook'::regnamespace;
grant usage on schema tokenbook to authenticated, service_role;

-- Tables and views in public: signed-in users read the rows that the policies give them, the server
-- reads all, nobody writes.
do $$
declare
  c_relations constant text[] := array[
    'token_accounts', 'token_balances', 'token_transactions', 'token_legacy_transactions',
    'token_usage', 'token_usage_history', 'token_counters', 'token_model_prices', 'token_model_rates', 'token_action_costs', 'token_grant_types',
    'token_holds',
    'token_plans', 'token_packs', 'token_price_ids', 'token_subscriptions', 'token_storage_quotas',
    'token_payments',
    'token_alerts', 'token_alert_rules', 'token_top_ups', 'token_top_up_requests',
    'token_spend_caps', 'token_default_spend_caps', 'token_team_members'];
  v_relation text;
begin
  foreach v_relation in array c_relations loop
    perform tokenbook.withdraw_rights('table', format('public.%I', v_relation)::regclass);
    execute format('grant select on table public.%I to authenticated, service_role', v_relation);
  end loop;
  execute format( -- for functions that list what is ours
    'create or replace function tokenbook.own_relations() returns text[] language plpgsql immutable security invoker '
    'set search_path = pg_catalog, pg_temp as $body$ begin return %L::text[]; end $body$', c_relations);
  perform tokenbook.withdraw_rights('function', 'tokenbook.own_relations()'::regprocedure);
end
$$;
grant select on table public.token_plans, public.token_packs to anon; -- the price list

-- What token_subscriptions, a view, reads with its caller's rights; no client can name it.
grant select on table tokenbook.subscriptions to authenticated, service_role;
grant execute on function
    tokenbook.subscription_at(tokenbook.subscriptions, timestamptz), tokenbook.plan_ends_at(tokenbook.subscriptions),
    tokenbook.plan_beside(tokenbook.subscriptions, timestamptz), tokenbook.plans_of(tokenbook.subscriptions),
    tokenbook.kept_beside(tokenbook.subscriptions, timestamptz),
    tokenbook.grace_of(public.token_plans), tokenbook.period_end(public.token_plans, timestamptz),
    tokenbook.plan_precedence(tokenbook.subscriptions), tokenbook.payment_id_in(text), tokenbook.begins_by_itself(public.token_plans),
    tokenbook.plan_at(text, timestamptz), tokenbook.plan_after(tokenbook.subscriptions),
    tokenbook.plan_schedule(public.token_plans), tokenbook.next_slot_at(tokenbook.subscriptions, timestamptz),
    tokenbook.newest_slot_at(tokenbook.subscriptions, timestamptz),
    tokenbook.slot_start(jsonb, timestamptz, integer), tokenbook.slot_number(jsonb, timestamptz, timestamptz),
    tokenbook.moved_by(jsonb),
    tokenbook.slot_tokens_due(uuid),
    tokenbook.is_storage_in_force(uuid, uuid, jsonb)
  to authenticated, service_role;

-- The caller's id: read by the policies and by the defaults of p_user_id.
grant execute on function tokenbook.caller_id(), tokenbook.user_of_subject(), tokenbook.is_user_id(text)
  to authenticated, service_role;

-- Computed fields: every role that may read the row may read them.
select tokenbook.withdraw_rights('function', 'public.tokens_used(public.token_transactions)'::regprocedure);
select tokenbook.withdraw_rights('function', 'public.token_offer_now(public.token_payments)'::regprocedure);
select tokenbook.withdraw_rights('function', 'public.token_payment_disagrees(public.token_payments)'::regprocedure);
select tokenbook.withdraw_rights('function', 'public.token_payment_email(public.token_payments)'::regprocedure);
grant execute on function public.token_payment_disagrees(public.token_payments), tokenbook.disagreement_of_payment(uuid, text, text),
    public.token_payment_email(public.token_payments), tokenbook.email_of_user(uuid)
  to service_role;
grant execute on function public.tokens_used(public.token_transactions) to authenticated, service_role;
grant execute on function public.token_offer_now(public.token_payments) to authenticated, service_role;

-- Functions.
do $$
declare
  -- a user for themselves, an admin for anyone, the server
  c_for_self constant text[] := array[
    'get_user_token_balance', 'can_spend_tokens', 'has_token_plan', 'get_token_history', 'get_token_balance_as_of',
    'deduct_tokens_with_fifo',
    'track_token_usage', 'estimate_tokens', 'explain_token_charge', 'get_token_usage_by',
    'reserve_tokens', 'capture_tokens', 'release_tokens',
    'get_user_storage_quota', 'check_token_trial', 'create_token_payment',
    'set_token_top_up', 'prepare_token_checkout', 'get_token_customer',
    'get_token_spend_caps', 'list_token_team_members', 'list_upcoming_token_grants',
    'redeem_token_code', 'get_token_referral_code', 'claim_token_referral'];
  c_for_admins constant text[] := array[
    'grant_tokens', 'adjust_tokens', 'void_token_grant', 'refund_tokens',
    'set_token_account_state', 'set_token_overdraft', 'list_token_changes', 'forget_token_user',
    'set_token_plan', 'set_token_pack', 'set_token_model_price', 'set_token_model_rate', 'set_token_action_cost', 'set_token_grant_type', 'set_token_grant_expiry',
    'change_token_plan', 'renew_token_subscription',
    'approve_token_payment', 'reject_token_payment', 'refund_token_payment',
    'get_token_revenue', 'list_parked_token_payments', 'assign_parked_token_payment', 'dismiss_parked_token_payment',
    'set_token_customer',
    'set_token_alert_rule', 'remove_token_alert_rule', 'settle_token_top_up',
    'set_token_webhook_endpoint', 'remove_token_webhook_endpoint', 'list_token_webhook_endpoints',
    'list_token_webhook_deliveries', 'repeat_token_webhook_delivery', 'retry_token_webhooks',
    'set_token_spend_cap', 'add_token_team_member', 'remove_token_team_member',
    'create_token_code', 'list_token_codes', 'end_token_code',
    'verify_token_ledger', 'acknowledge_token_finding', 'checkpoint_token_ledger', 'verify_token_checkpoint',
    'list_token_users', 'get_token_user', 'list_token_expiries',
    'reconcile_user_token_balance', 'find_token_discrepancies',
    'replay_token_balances', 'restate_token_balances', 'reverse_token_restatement',
    'check_token_synchronization', 'get_recent_token_usage', 'get_users_with_high_token_usage',
    'get_users_with_low_token_balance', 'get_users_without_token_balance'];
  c_for_server constant text[] := array[
    'deduct_tokens_batch', 'expire_old_token_grants', 'set_token_burn_order', 'set_token_limit',
    'set_token_trial_policy', 'set_token_referral_policy', 'set_token_unknown_model_policy', 'set_token_subject',
    'record_token_payment_event', 'record_token_subscription_event',
    'arm_token_alerts', 'claim_token_webhooks', 'settle_token_webhook', 'claim_token_top_ups',
    'check_token_installation'];
begin
  perform tokenbook.expose(f, 'authenticated', 'service_role') from unnest(c_for_self || c_for_admins) f;
  perform tokenbook.expose(f, 'service_role') from unnest(c_for_server) f;
  execute format( -- for functions that list what is ours
    'create or replace function tokenbook.own_functions() returns text[] language plpgsql immutable security invoker '
    'set search_path = pg_catalog, pg_temp as $body$ begin return %L::text[]; end $body$',
    c_for_self || c_for_admins || c_for_server || array['tokens_used', 'token_offer_now', 'token_payment_disagrees', 'token_payment_email']);
  perform tokenbook.withdraw_rights('function', 'tokenbook.own_functions()'::regprocedure);
end
$$;

/*
 * What has been given above, as a function: check_token_installation compares with it what is given now. Taken from
 * the catalogue, so that nothing is written twice; a function and not rows, so that a dump of the schema alone has it.
 */
do $$
begin
  execute format(
    'create or replace function tokenbook.declared_rights() returns jsonb language plpgsql immutable security invoker '
    'set search_path = pg_catalog, pg_temp as $body$ begin return %L; end $body$',
    (select jsonb_agg(to_jsonb(r) order by r.kind, r.object, r.grantee, r.privilege) from tokenbook.present_rights() r));
end
$$;
comment on function tokenbook.declared_rights is
  'The rights that 95_privileges.sql gave, as tokenbook.present_rights said them then: [{kind, object, grantee, privilege}].';
comment on function tokenbook.own_relations is 'The tables and views of Tokenbook in public, by name.';
comment on function tokenbook.own_functions is 'The functions of Tokenbook in public, by name.';
select tokenbook.withdraw_rights('function', 'tokenbook.declared_rights()'::regprocedure);
