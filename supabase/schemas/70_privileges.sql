/*
 * Who may do what: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything is taken away by name first, then given.
 *
 *                                   anon   authenticated        service_role
 *   tables and views (public)       -      select (own rows)    select
 *   token_plans                     select select               select
 *   ai_model_prices,                -      select               select
 *   ai_action_costs
 *   token_alert_rules               -      select (his, common) select
 *   tables (private)                -      -                    -
 *   deduct_tokens_with_fifo         -      execute (himself)    execute
 *   get_user_token_balance          -      execute (himself)    execute
 *   get_token_history,              -      execute (himself)    execute
 *   get_token_balance_as_of
 *   get_user_storage_quota          -      execute (himself)    execute
 *   create_payment                  -      execute (himself)    execute
 *   track_token_usage,              -      execute (himself)    execute
 *   estimate_tokens,
 *   explain_token_charge
 *   get_spend_caps,                 -      execute (himself)    execute
 *   list_team_members
 *   reserve_, capture_,             -      execute (himself)    execute
 *   release_tokens
 *   grant_tokens, adjust_tokens     -      execute (admins)     execute
 *   refund_tokens, void_grant       -      execute (admins)     execute
 *   set_spend_cap                   -      execute (admins)     execute
 *   add_, remove_team_member        -      execute (admins)     execute
 *   set_auto_top_up                 -      execute (himself)    execute
 *   settle_top_up                   -      execute (admins)     execute
 *   set_, remove_token_alert_rule,  -      execute (admins)     execute
 *   retry_token_alerts
 *   approve_, reject_, refund_pay.  -      execute (admins)     execute
 *   upgrade_plan, renew_subscr.     -      execute (admins)     execute
 *   parked payments, reports,       -      execute (admins)     execute
 *   verify_token_ledger,
 *   reconcile_, find_discrepancies,
 *   replay_token_balances
 *   restate_token_balances,         -      execute (admins)     execute
 *   reverse_restatement
 *   expire_old_token_grants         -      -                    execute
 *   record_provider_event           -      -                    execute
 *   set_burn_order                  -      -                    execute
 *   deduct_tokens_batch             -      -                    execute
 *   arm_, claim_token_alerts,       -      -                    execute
 *   settle_token_alert
 *   all other functions (private)   -      -                    -
 *
 * "Himself" and "admins" are checked in private.authorize; an admin may do for anyone what a user
 * may do for himself. No role writes a table except through the functions. user_profiles belongs
 * to the app and is not in it.
 */
revoke all on schema private from public, anon, authenticated, service_role;
grant usage on schema private to authenticated, service_role;

revoke all on all tables in schema private from public, anon, authenticated, service_role;
revoke all on all sequences in schema private from public, anon, authenticated, service_role;
revoke all on all functions in schema private from public, anon, authenticated, service_role;

revoke all on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.token_holds,
  public.token_spend_caps,
  public.default_spend_caps,
  public.team_members,
  public.token_alerts,
  public.token_alert_rules,
  public.token_top_ups,
  public.token_top_up_requests,
  public.user_storage,
  public.token_plans,
  public.ai_model_prices,
  public.ai_action_costs,
  public.user_subscriptions,
  public.payments,
  public.user_token_counters,
  public.token_usage_history
from public, anon, authenticated, service_role;

grant select on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.token_holds,
  public.token_spend_caps,
  public.default_spend_caps,
  public.team_members,
  public.token_alerts,
  public.token_alert_rules,
  public.token_top_ups,
  public.token_top_up_requests,
  public.user_storage,
  public.token_plans,
  public.ai_model_prices,
  public.ai_action_costs,
  public.user_subscriptions,
  public.payments,
  public.user_token_counters,
  public.token_usage_history
to authenticated, service_role;
grant select on table public.token_plans to anon;

-- the security definer halves of the public functions
grant execute on function
  private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  private.track_token_usage(public.token_usage, text, text),
  private.estimate_tokens(public.token_usage),
  private.explain_token_charge(uuid, uuid, bigint),
  private.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  private.capture_tokens(public.token_usage, uuid, bigint, text),
  private.release_tokens(uuid, uuid),
  private.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  private.void_grant(uuid, uuid, text, boolean, text),
  private.set_token_alert_rule(public.token_alert_rules),
  private.remove_token_alert_rule(text, text, uuid),
  private.retry_token_alerts(uuid),
  private.set_auto_top_up(public.token_top_ups),
  private.settle_top_up(uuid, uuid, text, text),
  private.get_user_token_balance(uuid),
  private.get_token_history(uuid, integer, bigint),
  private.get_token_balance_as_of(uuid, timestamptz),
  private.get_spend_caps(uuid),
  private.set_spend_cap(text, bigint, uuid, text, text),
  private.list_team_members(uuid),
  private.add_team_member(uuid, uuid, bigint, bigint, bigint),
  private.remove_team_member(uuid, uuid),
  private.get_user_storage_quota(uuid),
  private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  private.adjust_tokens(uuid, bigint, text, text, jsonb),
  private.create_payment(uuid, text, text),
  private.approve_payment(uuid, uuid, text),
  private.reject_payment(uuid, uuid, text),
  private.refund_payment(uuid, uuid, text, bigint),
  private.upgrade_plan(uuid, text, text, text, text),
  private.renew_subscription(uuid, timestamptz),
  private.assign_parked_payment(text, text, uuid, text),
  private.list_parked_payments(),
  private.check_token_synchronization(),
  private.verify_token_ledger(uuid, uuid, uuid),
  private.replay_token_balances(uuid, uuid, uuid),
  private.restate_token_balances(uuid, text, text),
  private.reverse_restatement(uuid, bigint, text, text),
  private.reconcile_user_token_balance(uuid),
  private.find_token_discrepancies(bigint, uuid, uuid),
  private.get_users_without_balance(),
  private.get_recent_token_usage(integer, integer),
  private.get_users_with_low_balance(bigint, integer),
  private.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  private.deduct_tokens_batch(jsonb, boolean),
  private.set_burn_order(text),
  private.arm_token_alerts(integer),
  private.claim_token_alerts(integer, integer),
  private.settle_token_alert(uuid, bigint, uuid, text),
  private.expire_old_token_grants(integer),
  private.record_provider_event(text, text, text, text, jsonb)
to service_role;

revoke all on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.deduct_tokens_batch(jsonb, boolean),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean),
  public.remove_token_alert_rule(text, text, uuid),
  public.retry_token_alerts(uuid),
  public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer),
  public.settle_top_up(uuid, uuid, text, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_token_balance_as_of(uuid, timestamptz),
  public.get_spend_caps(uuid),
  public.set_spend_cap(text, bigint, uuid, text, text),
  public.list_team_members(uuid),
  public.add_team_member(uuid, uuid, bigint, bigint, bigint),
  public.remove_team_member(uuid, uuid),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.set_burn_order(text),
  public.arm_token_alerts(integer),
  public.claim_token_alerts(integer, integer),
  public.settle_token_alert(uuid, bigint, uuid, text),
  public.expire_old_token_grants(integer),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.replay_token_balances(uuid, uuid, uuid),
  public.restate_token_balances(uuid, text, text),
  public.reverse_restatement(uuid, bigint, text, text),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer),
  public.record_provider_event(text, text, text, text, jsonb)
from public, anon, authenticated, service_role;

grant execute on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean),
  public.remove_token_alert_rule(text, text, uuid),
  public.retry_token_alerts(uuid),
  public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer),
  public.settle_top_up(uuid, uuid, text, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_token_balance_as_of(uuid, timestamptz),
  public.get_spend_caps(uuid),
  public.set_spend_cap(text, bigint, uuid, text, text),
  public.list_team_members(uuid),
  public.add_team_member(uuid, uuid, bigint, bigint, bigint),
  public.remove_team_member(uuid, uuid),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.replay_token_balances(uuid, uuid, uuid),
  public.restate_token_balances(uuid, text, text),
  public.reverse_restatement(uuid, bigint, text, text),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  public.deduct_tokens_batch(jsonb, boolean),
  public.set_burn_order(text),
  public.arm_token_alerts(integer),
  public.claim_token_alerts(integer, integer),
  public.settle_token_alert(uuid, bigint, uuid, text),
  public.expire_old_token_grants(integer),
  public.record_provider_event(text, text, text, text, jsonb)
to service_role;
