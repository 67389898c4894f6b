/*
 * What get_user_token_balance says of an account to which nothing has to be done first, in one
 * statement: nothing is due, no plan waits for its time, the user pays for himself, has something
 * left, and grants are spent first in, first out. NULL for every other case. What it saves:
 * docs/performance.md.
 * Caller: tokenbook.get_user_token_balance.   Locks: nothing.   Keeps: I7.
 */
create function tokenbook.get_balance_fast_path(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance jsonb;
begin
  select jsonb_build_object(
    'user_id', a.user_id,
    'state', a.state,
    'total_active', a.tokens_remaining, -- @fast-balance-is-bigint
    'total_expired', a.tokens_expired,
    'total_reserved', a.tokens_reserved,
    'total_owed', a.tokens_owed,
    'tokens_limit', s.tokens_limit,
    'plan_type', s.plan_type,
    'next_expiry', case when a.next_due_at is not null then (
      select min(b.expires_at) from public.token_balances b where b.user_id = a.user_id and b.is_open) end,
    'grants', array(
      select listed
        from (
          select g.id, g.grant_type, g.tokens_granted, g.tokens_remaining, g.priority, g.granted_at, g.expires_at
            from tokenbook.open_grants_fifo(a.user_id, statement_timestamp()) g
           limit 101) listed),
    'has_more_grants', false)
    into v_balance
    from public.token_accounts a
    left join tokenbook.subscriptions s on s.user_id = a.user_id
   where a.user_id = p_user_id
     and a.payer_id is null
     and a.tokens_remaining > 0
     and (a.next_due_at is null or a.next_due_at > clock_timestamp()) -- @nothing-open-has-expired
     -- the plan in the row is the one in force
     and coalesce(s.expires_at, 'infinity') > clock_timestamp() -- @fast-plan-in-force
     and coalesce(s.cancel_at, 'infinity') > clock_timestamp()
     and s.ended_at is null and s.paused_at is null and s.taken_back_at is null
     and not (select r.is_expiring_first from tokenbook.project_settings r);
  if v_balance #> '{grants,0}' is null then
    return null; -- tokens, and no grant: not for this path to say
  end if;
  if v_balance #> '{grants,100}' is not null then
    v_balance := v_balance || jsonb_build_object('grants', (v_balance -> 'grants') - 100, 'has_more_grants', true);
  end if;
  return v_balance;
end
$$;
comment on function tokenbook.get_balance_fast_path is
  'The answer of get_user_token_balance for an account to which nothing has to be done first; NULL for any other.';
