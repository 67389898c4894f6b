/*
 * Moves the plan limit by what a clawback took or gave back, or by nothing; never below the balance.
 * Caller: internal, holding the account's lock.   Keeps: I9.
 */
create function tokenbook.move_plan_limit(p_user_id uuid, p_by bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  v_at := clock_timestamp();
  update tokenbook.subscriptions s
     set tokens_limit = greatest(s.tokens_limit + p_by, a.tokens_remaining), updated_at = v_at
    from public.token_accounts a
   where s.user_id = p_user_id and a.user_id = p_user_id
     and (p_by <> 0 or a.tokens_remaining > s.tokens_limit);
  if found then
    perform tokenbook.refresh_alert_thresholds(p_user_id);
  end if;
end
$$;
comment on function tokenbook.move_plan_limit is 'Moves tokens_limit of a subscription by that many tokens, never below the balance.';
