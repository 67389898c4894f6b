/*
 * What get_user_token_balance says of an account to which nothing has to be done first, in one
 * statement: nothing is due, the user pays for himself, has open grants, and they are spent in the
 * usual order. NULL for every other case. What it saves: docs/performance.md.
 * Caller: private.get_user_token_balance.   Locks: nothing.   Keeps: I7.
 */
create or replace function private.balance_at_once(p_user_id uuid, p_now timestamptz)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', a.tokens_remaining,
      'total_expired', a.tokens_expired,
      'total_reserved', a.tokens_reserved,
      'total_owed', a.tokens_owed,
      'tokens_limit', s.tokens_limit,
      'plan_type', s.plan_type,
      'next_expiry', case when listed.count <= 100 then listed.next_expiry else (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = p_user_id and b.is_open and b.expires_at > p_now) end,
      'grants', case when listed.count <= 100 then listed.grants else listed.grants - 100 end,
      'has_more_grants', listed.count > 100)
      from public.token_accounts a
      left join public.user_subscriptions s on s.user_id = p_user_id
     cross join lateral (
       select jsonb_agg(g) as grants,
              count(*) as count,
              min(g.expires_at) as next_expiry
         from (
           select b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at
             from public.token_balances b
            where b.user_id = p_user_id and b.is_open
            order by b.priority, b.granted_at, b.id
            limit 101) g) listed
     where a.user_id = p_user_id
       and a.payer_id is null
       and (a.next_due_at > p_now or a.next_due_at is null)
       and (s.next_plan_type is null or s.expires_at > p_now)
       and listed.count > 0
       and (select o.burn_order from private.burn_orders o order by o.since desc limit 1) is distinct from 'expiring_first');
end
$$;
comment on function private.balance_at_once(uuid, timestamptz) is
  'The answer of get_user_token_balance for an account to which nothing has to be done first; NULL for any other.';
revoke all on function private.balance_at_once(uuid, timestamptz) from public, anon, authenticated, service_role;
