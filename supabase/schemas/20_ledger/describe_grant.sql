/*
 * A grant as a balance lists it, with what is left of it then.
 * Caller: internal. tokenbook.get_balance_fast_path lists the same columns as they stand in the table: to
 * call this for each of three grants takes a quarter more (decision 34).
 */
create function tokenbook.describe_grant(p_grant public.token_balances, p_tokens_remaining bigint)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'id', p_grant.id,
    'grant_type', p_grant.grant_type,
    'tokens_granted', p_grant.tokens_granted,
    'tokens_remaining', p_tokens_remaining,
    'priority', p_grant.priority,
    'granted_at', p_grant.granted_at,
    'expires_at', p_grant.expires_at);
end
$$;
comment on function tokenbook.describe_grant is
  'A grant as a balance lists it: {id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}.';
