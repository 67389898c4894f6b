/*
 * Says what came of a top-up request: done (charged, and the tokens granted by whoever charged), or
 * failed, which pauses the top-up until it is set anew: a card that was declined is not tried again
 * by itself. The same word again changes nothing; another one is refused.
 * Grant the tokens first, or in the same database transaction: who is still below his threshold after
 * it and its cooldown is asked for again.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, invalid_reason,
 * top_up_request_not_found, top_up_already_settled, busy.
 */
-- Security definer: nobody may write the tables himself.
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
  v_request public.token_top_up_requests;
  v_replayed boolean;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_outcome in ('done', 'failed')) is not true then
    perform tokenbook.refuse('invalid_top_up', '{"field": "p_outcome", "rule": "done or failed"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  -- lock
  perform tokenbook.lock_account(p_user_id);

  -- replay
  select r.* into v_request from public.token_top_up_requests r
   where r.user_id = p_user_id and r.id = p_request_id;
  if v_request.id is null then
    perform tokenbook.refuse('top_up_request_not_found', '{}');
  elsif v_request.status not in ('pending', p_outcome) then
    perform tokenbook.refuse('top_up_already_settled', '{}');
  end if;
  v_replayed := v_request.status <> 'pending';

  if not v_replayed then
    -- act
    update public.token_top_up_requests r
       set status = p_outcome, reason = p_reason, settled_at = clock_timestamp()
     where r.user_id = p_user_id and r.id = p_request_id
    returning r.* into v_request;
    if p_outcome = 'failed' then
      update public.token_top_ups t
         set paused_at = v_request.settled_at, updated_at = v_request.settled_at
       where t.user_id = p_user_id;
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
  'Says what came of a top-up request: p_outcome done (grant the tokens first) or failed (pauses the user''s top-up until it is set anew). For an admin or the server. The same outcome again changes nothing. Returns {success, request_id, status, settled_at, replayed}. Errors: invalid_top_up, invalid_reason, top_up_request_not_found, top_up_already_settled, forbidden, busy.';
