/*
 * Says what came of a top-up request: done (charged, and the tokens granted by the caller that charged), or
 * failed, which pauses the top-up until it is set anew: a card that was declined is not tried again
 * by itself. needs_action is a failure that the user can mend: their bank asks them to confirm the payment,
 * which they do by buying the same once themselves. Of a failure the user is told by an alert, in the same
 * commit, unless they have switched the top-up off meanwhile. The same word again changes nothing; another one
 * is refused.
 * Grant the tokens first, or in the same database transaction: for a user who is still below their threshold after
 * it and its cooldown another request is written.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, invalid_reason,
 * top_up_request_not_found, top_up_already_settled, busy.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.settle_token_top_up(
  p_user_id uuid,
  p_request_id uuid,
  p_outcome text,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_status text := case p_outcome when 'needs_action' then 'failed' else p_outcome end;
  v_request public.token_top_up_requests;
  v_alert public.token_alerts;
  v_replayed boolean;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_outcome in ('done', 'failed', 'needs_action')) is not true then
    perform tokenbook.refuse('invalid_top_up', '{"field": "p_outcome", "rule": "done, failed or needs_action"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  -- lock
  perform tokenbook.lock_account(p_user_id);

  -- replay
  select r.* into v_request from public.token_top_up_requests r
   where r.user_id = p_user_id and r.id = p_request_id;
  if v_request.id is null then
    perform tokenbook.refuse('top_up_request_not_found', '{}');
  elsif v_request.status not in ('pending', v_status) then
    perform tokenbook.refuse('top_up_already_settled', '{}');
  end if;
  v_replayed := v_request.status <> 'pending';

  if not v_replayed then
    -- act
    v_at := clock_timestamp();
    update public.token_top_up_requests r
       set status = v_status, reason = p_reason, settled_at = v_at, next_attempt_at = null
     where r.user_id = p_user_id and r.id = p_request_id
    returning r.* into v_request;
    if v_status = 'failed' then
      update public.token_top_ups t
         set paused_at = v_request.settled_at, updated_at = v_request.settled_at
       where t.user_id = p_user_id;
      if exists (select 1 from public.token_top_ups t where t.user_id = p_user_id and t.is_enabled) then
        v_alert.user_id := p_user_id;
        v_alert.kind := 'top_up_' || p_outcome;
        v_alert.rule := 'auto_top_up';
        v_alert.request_id := p_request_id;
        v_alert.created_at := v_request.settled_at;
        v_alert.payload := jsonb_build_object(
          'request_id', p_request_id, 'tokens', v_request.tokens, 'top_up_plan_type', v_request.plan_type,
          'top_up_pack_type', v_request.pack_type, 'top_up_quantity', v_request.quantity,
          'amount_cents', v_request.amount_cents, 'currency', v_request.currency, 'reason', p_reason);
        perform tokenbook.write_alert(v_alert);
      end if;
    end if;

    -- record
    perform tokenbook.record_change(
      'settle_token_top_up', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('request_id', p_request_id, 'outcome', p_outcome));
    perform tokenbook.refresh_alert_thresholds(p_user_id);
  end if;
  return jsonb_build_object(
    'success', true,
    'request_id', v_request.id,
    'status', v_request.status,
    'settled_at', v_request.settled_at,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.settle_token_top_up is
  'Says what came of a top-up request: p_outcome done (grant the tokens first), failed, or needs_action (it failed because the user must confirm it themself); the latter two pause the user''s top-up until it is set anew, and the user is told by an alert of that name. For an admin or the server. The same outcome again changes nothing. Returns {success, request_id, status, settled_at, replayed}. Errors: invalid_top_up, invalid_reason, top_up_request_not_found, top_up_already_settled, forbidden, busy.';
