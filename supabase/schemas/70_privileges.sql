/*
 * Who may do what: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything is taken away by name first, then given.
 *
 *                                   anon   authenticated        service_role
 *   tables and the view (public)    -      select (own rows)    select
 *   tables (private)                -      -                    -
 *   deduct_tokens_with_fifo         -      execute (himself)    execute
 *   get_user_token_balance          -      execute (himself)    execute
 *   get_token_history               -      execute (himself)    execute
 *   get_user_storage_quota          -      execute (himself)    execute
 *   grant_tokens, adjust_tokens     -      execute (admins)     execute
 *   expire_old_token_grants         -      -                    execute
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
  public.user_storage,
  public.user_token_counters
from public, anon, authenticated, service_role;

grant select on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.user_storage,
  public.user_token_counters
to authenticated, service_role;

-- the security definer halves of the public functions
grant execute on function
  private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  private.get_user_token_balance(uuid),
  private.get_token_history(uuid, integer, bigint),
  private.get_user_storage_quota(uuid),
  private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  private.adjust_tokens(uuid, bigint, text, text, jsonb)
to authenticated, service_role;
grant execute on function private.expire_old_token_grants(integer) to service_role;

revoke all on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.expire_old_token_grants(integer)
from public, anon, authenticated, service_role;

grant execute on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb)
to authenticated, service_role;
grant execute on function public.expire_old_token_grants(integer) to service_role;
