/*
 * Sets a user's automatic top-up: below which balance to ask for more, for how many tokens or which
 * plan, and how often at most. Sets it going again when a failed charge had paused it. Who is below
 * the threshold already is asked for at once. Nothing is charged here: a request is written, and the
 * server that takes money answers it with settle_top_up.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, plan_not_found,
 * user_not_found, busy.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.set_auto_top_up(p_top_up public.token_top_ups)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_fault text;
begin
  -- validate
  v_actor := private.authorize(p_top_up.user_id, p_self_may => true);
  v_fault := case
    when p_top_up.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
    when not p_top_up.is_enabled
      then null
    when (p_top_up.below_tokens between 1 and 1000000000000) is not true
      then '{"field": "p_below_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when num_nonnulls(p_top_up.tokens, p_top_up.plan_type) <> 1 or p_top_up.tokens not between 1 and 1000000000000
      then '{"field": "p_tokens", "rule": "a whole number from 1 to 1000000000000, or p_plan_type instead"}'
    when (p_top_up.cooldown_seconds between 30 and 2592000) is not true
      then '{"field": "p_cooldown_seconds", "rule": "30 to 2592000"}'
    when (p_top_up.max_requests between 1 and 100) is not true
      then '{"field": "p_max_requests", "rule": "1 to 100"}'
    when (p_top_up.window_seconds between 60 and 2592000) is not true
      then '{"field": "p_window_seconds", "rule": "60 to 2592000"}'
  end;
  if v_fault is not null then
    perform private.refuse('invalid_top_up', v_fault::jsonb);
  end if;
  if p_top_up.is_enabled and p_top_up.plan_type is not null
    and not exists (
      select from public.token_plans p where p.plan_type = p_top_up.plan_type and p.is_offered)
  then
    perform private.refuse('plan_not_found', '{}');
  end if;

  -- lock
  v_account := private.lock_account(p_top_up.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_top_up.user_id, v_actor.actor_role);
    v_account := private.lock_account(p_top_up.user_id, p_create => true);
  end if;

  -- act
  if p_top_up.is_enabled then
    insert into public.token_top_ups as t
      (user_id, is_enabled, below_tokens, tokens, plan_type, cooldown_seconds, max_requests, window_seconds)
    values
      (p_top_up.user_id, true, p_top_up.below_tokens, p_top_up.tokens, p_top_up.plan_type,
       p_top_up.cooldown_seconds, p_top_up.max_requests, p_top_up.window_seconds)
    on conflict (user_id) do update
       set is_enabled = true,
           below_tokens = excluded.below_tokens,
           tokens = excluded.tokens,
           plan_type = excluded.plan_type,
           cooldown_seconds = excluded.cooldown_seconds,
           max_requests = excluded.max_requests,
           window_seconds = excluded.window_seconds,
           paused_at = null,
           updated_at = clock_timestamp();
  else
    update public.token_top_ups t
       set is_enabled = false, updated_at = clock_timestamp()
     where t.user_id = p_top_up.user_id;
  end if;

  -- record
  perform private.renew_alert_marks(p_top_up.user_id);
  return jsonb_build_object(
    'success', true,
    'is_enabled', p_top_up.is_enabled,
    'top_up', (select to_jsonb(t) from public.token_top_ups t where t.user_id = p_top_up.user_id),
    'pending_request_id', (
      select r.id from public.token_top_up_requests r
       where r.user_id = p_top_up.user_id and r.status = 'pending'));
end
$$;
comment on function private.set_auto_top_up(public.token_top_ups) is 'See public.set_auto_top_up.';
revoke all on function private.set_auto_top_up(public.token_top_ups) from public, anon, authenticated, service_role;
grant execute on function private.set_auto_top_up(public.token_top_ups) to authenticated, service_role;

create or replace function public.set_auto_top_up(
  p_user_id uuid,
  p_is_enabled boolean default true,
  p_below_tokens bigint default null,
  p_tokens bigint default null,
  p_plan_type text default null,
  p_cooldown_seconds integer default 60,
  p_max_requests integer default 3,
  p_window_seconds integer default 86400
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_top_up public.token_top_ups;
begin
  v_top_up.user_id := p_user_id;
  v_top_up.is_enabled := p_is_enabled;
  v_top_up.below_tokens := p_below_tokens;
  v_top_up.tokens := p_tokens;
  v_top_up.plan_type := p_plan_type;
  v_top_up.cooldown_seconds := p_cooldown_seconds;
  v_top_up.max_requests := p_max_requests;
  v_top_up.window_seconds := p_window_seconds;
  return private.set_auto_top_up(v_top_up);
end
$$;
comment on function public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer) is
  'Sets a user''s automatic top-up, and sets it going again after a failed charge. For the user himself, an admin, or the server. p_is_enabled false switches it off and looks at nothing else. Asks for p_tokens, or for p_plan_type, when fewer than p_below_tokens can be spent; at least p_cooldown_seconds (30 to 2592000) apart, at most p_max_requests (1 to 100) in p_window_seconds (60 to 2592000). Charges nothing. Returns {success, is_enabled, top_up (the row of token_top_ups), pending_request_id}. Errors: invalid_top_up, plan_not_found, user_not_found, forbidden, busy.';
revoke all on function public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer) to authenticated, service_role;
