/*
 * Sets a user's automatic top-up: below which balance to ask for more, for how many tokens, which plan or
 * how many of which pack, and how often at most. Sets it going again when a failed charge had paused it. For a user who is below
 * the threshold already a request is written at once. Nothing is charged here: a request is written, and the
 * server that takes money answers it with settle_token_top_up.
 * Caller: the user for themself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, plan_not_found,
 * pack_not_found, user_not_found, account_frozen (only to switch it off goes on), busy.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_top_up(
  p_user_id uuid,
  p_is_enabled boolean default true,
  p_below_tokens bigint default null,
  p_tokens bigint default null,
  p_plan_type text default null,
  p_cooldown_seconds integer default 60,
  p_max_requests integer default 3,
  p_window_seconds integer default 86400,
  p_pack_type text default null,
  p_quantity integer default 1
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_asked public.token_top_ups;
  v_actor record;
  v_account public.token_accounts;
  v_fault text;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_asked.user_id := p_user_id;
  v_asked.is_enabled := p_is_enabled;
  v_asked.below_tokens := p_below_tokens;
  v_asked.tokens := p_tokens;
  v_asked.plan_type := p_plan_type;
  v_asked.pack_type := p_pack_type;
  v_asked.quantity := p_quantity;
  v_asked.cooldown_seconds := p_cooldown_seconds;
  v_asked.max_requests := p_max_requests;
  v_asked.window_seconds := p_window_seconds;
  v_actor := tokenbook.authorize(v_asked.user_id, p_self_may => true);
  v_fault := case
    when v_asked.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
    when not v_asked.is_enabled
      then null
    when (v_asked.below_tokens between 1 and 1000000000000) is not true
      then '{"field": "p_below_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when num_nonnulls(v_asked.tokens, v_asked.plan_type, v_asked.pack_type) <> 1 or v_asked.tokens not between 1 and 1000000000000
      then '{"field": "p_tokens", "rule": "a whole number from 1 to 1000000000000, or p_plan_type or p_pack_type instead"}'
    when v_asked.pack_type is null and v_asked.quantity is distinct from 1
      then '{"field": "p_quantity", "rule": "1, where no pack is named"}'
    when (v_asked.quantity between 1 and (tokenbook.limits() -> 'pack_quantity')::integer) is not true
      then jsonb_build_object('field', 'p_quantity', 'rule', format('1 to %s', tokenbook.limits() -> 'pack_quantity'))::text
    when (v_asked.cooldown_seconds between 30 and 2592000) is not true
      then '{"field": "p_cooldown_seconds", "rule": "30 to 2592000"}'
    when (v_asked.max_requests between 1 and 100) is not true
      then '{"field": "p_max_requests", "rule": "1 to 100"}'
    when (v_asked.window_seconds between 60 and 2592000) is not true
      then '{"field": "p_window_seconds", "rule": "60 to 2592000"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_top_up', v_fault::jsonb);
  end if;
  if v_asked.is_enabled and v_asked.tokens is null
    and (tokenbook.find_offer(v_asked.plan_type, v_asked.pack_type)).is_offered is not true
  then
    perform tokenbook.refuse(case when v_asked.plan_type is not null then 'plan_not_found' else 'pack_not_found' end, '{}');
  end if;

  -- lock
  v_account := tokenbook.lock_account(v_asked.user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(v_asked.user_id, v_actor.actor_role);
    v_account := tokenbook.lock_account(v_asked.user_id, p_create => true);
  end if;

  -- act
  if v_asked.is_enabled then
    perform tokenbook.require_active(v_asked.user_id, v_account);
    v_at := clock_timestamp();
    insert into public.token_top_ups as t
      (user_id, is_enabled, below_tokens, tokens, plan_type, pack_type, quantity, cooldown_seconds, max_requests, window_seconds)
    values
      (v_asked.user_id, true, v_asked.below_tokens, v_asked.tokens, v_asked.plan_type, v_asked.pack_type, v_asked.quantity,
       v_asked.cooldown_seconds, v_asked.max_requests, v_asked.window_seconds)
    on conflict (user_id) do update
       set is_enabled = true,
           below_tokens = excluded.below_tokens,
           tokens = excluded.tokens,
           plan_type = excluded.plan_type,
           pack_type = excluded.pack_type,
           quantity = excluded.quantity,
           cooldown_seconds = excluded.cooldown_seconds,
           max_requests = excluded.max_requests,
           window_seconds = excluded.window_seconds,
           paused_at = null,
           updated_at = v_at;
  else
    v_at := clock_timestamp();
    update public.token_top_ups t
       set is_enabled = false, updated_at = v_at
     where t.user_id = v_asked.user_id;
  end if;

  -- record
  perform tokenbook.record_change(
    'set_token_top_up', v_asked.user_id, v_actor.actor_role, v_actor.actor_id, null,
    to_jsonb(v_asked) - array['user_id', 'updated_at']);
  perform tokenbook.refresh_alert_thresholds(v_asked.user_id);
  return jsonb_build_object(
    'success', true,
    'is_enabled', v_asked.is_enabled,
    'top_up', (select to_jsonb(t) from public.token_top_ups t where t.user_id = v_asked.user_id),
    'pending_request_id', (
      select r.id from public.token_top_up_requests r
       where r.user_id = v_asked.user_id and r.status = 'pending'));
end
$$;
comment on function tokenbook.set_token_top_up is
  'Sets a user''s automatic top-up, and sets it going again after a failed charge. For the user themself, an admin, or the server. p_is_enabled false switches it off and looks at nothing else. Asks for p_tokens, for p_plan_type, or for p_quantity (1 to 1000) of p_pack_type, when fewer than p_below_tokens can be spent; at least p_cooldown_seconds (30 to 2592000) apart, at most p_max_requests (1 to 100) in p_window_seconds (60 to 2592000). Charges nothing. Returns {success, is_enabled, top_up (the row of token_top_ups), pending_request_id}. Errors: invalid_top_up, plan_not_found, pack_not_found, user_not_found, account_frozen, forbidden, busy.';
