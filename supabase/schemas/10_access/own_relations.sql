/*
 * The tables and views of ours in `public`, by name: the one list. In schema tokenbook everything is ours.
 * Caller: migrations (95_privileges.sql), tokenbook.present_rights, check_token_installation.
 */
create function tokenbook.own_relations()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array[
    'token_accounts', 'token_balances', 'token_transactions', 'token_legacy_transactions',
    'token_usage', 'token_usage_history', 'token_counters', 'token_model_prices', 'token_action_costs',
    'token_holds',
    'token_plans', 'token_subscriptions', 'token_storage_quotas',
    'token_payments',
    'token_alerts', 'token_alert_rules', 'token_top_ups', 'token_top_up_requests',
    'token_spend_caps', 'token_default_spend_caps', 'token_team_members'];
end
$$;
comment on function tokenbook.own_relations is 'The tables and views of Tokenbook in public, by name.';
