-- Off by one instant: at expires_at itself the grant still counts and is still spent.
create or replace function private.tokens_due(p_user_id uuid, p_now timestamptz)
returns bigint language plpgsql stable security invoker set search_path = ''
as $$
begin
  return coalesce((
    select sum(b.tokens_remaining) from public.token_balances b
     where b.user_id = p_user_id and b.is_open and b.expires_at < p_now), 0)::bigint;
end
$$;
