/*
 * Asks for more tokens when the user wants that and fewer than their threshold remain; unless a request
 * is pending, a charge has failed, the last one is too recent, or there were too many. What time will
 * lift is looked at again then: so a threshold that was crossed during a cooldown is not forgotten.
 * Nor for a frozen account, or a user who was deleted.
 * A request of this very transaction is withdrawn when the balance comes back in it.
 * Caller: internal, holding the account's lock.   Returns the next thresholds on either side, and when
 * to look again.
 */
create function tokenbook.request_top_up(
  p_account public.token_accounts,
  p_at timestamptz,
  out alert_below bigint,
  out alert_above bigint,
  out next_at timestamptz
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_top_up public.token_top_ups;
  v_request public.token_top_up_requests;
  v_state tokenbook.token_alert_states;
  v_alert public.token_alerts;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  select t.* into v_top_up from public.token_top_ups t where t.user_id = p_account.user_id;
  if v_top_up.user_id is null or not v_top_up.is_enabled then
    return;
  end if;
  select r.* into v_request from public.token_top_up_requests r
   where r.user_id = p_account.user_id and r.status = 'pending';

  if p_account.tokens_remaining >= v_top_up.below_tokens then
    alert_below := v_top_up.below_tokens;
    select s.* into v_state from tokenbook.token_alert_states s
     where s.user_id = p_account.user_id and s.rule = 'auto_top_up';
    if v_request.id is not null and v_state.changed_in = pg_current_xact_id() and v_state.changed_at >= now() then
      perform tokenbook.withdraw_alert(t.user_id, t.id)
         from public.token_alerts t where t.user_id = v_request.user_id and t.request_id = v_request.id;
      delete from public.token_top_up_requests r where r.user_id = v_request.user_id and r.id = v_request.id;
    end if;
    return;
  end if;

  alert_above := v_top_up.below_tokens;
  if v_request.id is not null or v_top_up.paused_at is not null then -- @one-request-pending
    return;
  end if;
  if tokenbook.is_frozen(p_account, null) or not tokenbook.is_user(p_account.user_id) then -- @frozen-asks-for-nothing
    return;
  end if;
  next_at := greatest(
    (select coalesce(r.settled_at, r.created_at) from public.token_top_up_requests r
      where r.user_id = p_account.user_id
      order by r.created_at desc
      limit 1) + v_top_up.cooldown_seconds * interval '1 second', -- one at a time: the newest was settled last
    (select r.created_at from public.token_top_up_requests r
      where r.user_id = p_account.user_id
      order by r.created_at desc
     offset v_top_up.max_requests - 1 limit 1) + v_top_up.window_seconds * interval '1 second');
  if next_at > p_at then -- @requests-cool-down
    return;
  end if;

  next_at := null;
  insert into public.token_top_up_requests as r (user_id, tokens, plan_type, pack_type, quantity, created_at, next_attempt_at)
  values (p_account.user_id, v_top_up.tokens, v_top_up.plan_type, v_top_up.pack_type, v_top_up.quantity, p_at, p_at)
  returning r.* into v_request;
  v_at := clock_timestamp();
  insert into tokenbook.token_alert_states (user_id, rule, is_below, changed_in, changed_at)
  values (p_account.user_id, 'auto_top_up', true, pg_current_xact_id(), v_at)
  on conflict (user_id, rule) do update
     set changed_in = excluded.changed_in, changed_at = excluded.changed_at;
  v_alert.user_id := p_account.user_id;
  v_alert.kind := 'top_up_requested';
  v_alert.rule := 'auto_top_up';
  v_alert.request_id := v_request.id;
  v_alert.created_at := p_at;
  v_alert.payload := jsonb_build_object(
    'request_id', v_request.id, 'threshold_tokens', v_top_up.below_tokens,
    'tokens', v_request.tokens, 'top_up_plan_type', v_request.plan_type,
    'top_up_pack_type', v_request.pack_type, 'top_up_quantity', v_request.quantity);
  perform tokenbook.write_alert(v_alert);
end
$$;
comment on function tokenbook.request_top_up is
  'Writes a request for more tokens when the user''s top-up asks for one and no guard forbids it; returns the next thresholds, and when to look again.';
