/*
 * Tokens that a user's account still counts although their grants have run out by then.
 * Caller: internal.   Keeps: I7.
 */
create or replace function private.tokens_due(p_user_id uuid, p_now timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return coalesce((
    select sum(b.tokens_remaining) from public.token_balances b
     where b.user_id = p_user_id and b.is_open and b.expires_at <= p_now), 0)::bigint;
end
$$;
comment on function private.tokens_due(uuid, timestamptz) is 'Tokens in grants of this user that have run out by then and are not booked yet.';
revoke all on function private.tokens_due(uuid, timestamptz) from public, anon, authenticated, service_role;
