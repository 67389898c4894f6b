/*
 * Caps what may be spent in a day, a week or a month: by one user, by each user on a plan, or by
 * everyone (p_for_everyone, said in so many words). p_tokens NULL takes the cap away. The tightest cap holds.
 * Safe while traffic runs: a user's cap is set under the account's lock, so what begins afterwards
 * meets it; a common one holds for whatever takes its lock afterwards. What was spent in the present
 * window counts.
 * Caller: an admin, service_role.   Locks: the account, where one user is named.
 * Returns {success, scope, window, limit, used (of that user, in the present window)}.
 * Errors: not_authenticated, forbidden, invalid_scope, invalid_cap, invalid_reason, plan_not_found, user_not_found,
 * busy.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_spend_cap(
  p_window text,
  p_tokens bigint,
  p_user_id uuid default null,
  p_plan_type text default null,
  p_reason text default null,
  p_for_everyone boolean default false
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_scope text;
  v_account public.token_accounts;
  v_used bigint;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize_operator();
  v_scope := tokenbook.check_scope(p_user_id, p_plan_type, p_for_everyone);
  if p_window is null or p_window not in ('day', 'week', 'month') then
    perform tokenbook.refuse('invalid_cap', '{"field": "p_window", "rule": "day, week or month"}');
  elsif p_tokens not between 0 and 1000000000000 then
    perform tokenbook.refuse('invalid_cap', '{"field": "p_tokens", "rule": "0 to 1000000000000, or null for no cap"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  if v_scope = 'plan' and not exists (select 1 from public.token_plans p where p.plan_type = p_plan_type) then
    perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;

  -- lock
  if v_scope = 'user' then
    v_account := tokenbook.lock_account(p_user_id);
    if v_account.user_id is null then
      perform tokenbook.require_user(p_user_id, v_actor.actor_role);
      v_account := tokenbook.lock_account(p_user_id, p_create => true);
    end if;
  end if;

  -- act
  if v_scope = 'user' and p_tokens is null then
    delete from public.token_spend_caps c where c.user_id = p_user_id and c.spend_window = p_window;
  elsif v_scope = 'user' then
    v_at := clock_timestamp();
    insert into public.token_spend_caps as c (user_id, spend_window, tokens, reason, actor_role, actor_id)
    values (p_user_id, p_window, p_tokens, p_reason, v_actor.actor_role, v_actor.actor_id)
    on conflict (user_id, spend_window) do update
       set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
           actor_id = excluded.actor_id, updated_at = v_at;
    select c.used into v_used
      from tokenbook.spend_caps_of(v_account, null, clock_timestamp()) as c
     where c.scope = 'user' and c.spend_window = p_window;
  else
    if p_tokens is null then
      delete from public.token_default_spend_caps d
       where d.plan_type is not distinct from p_plan_type and d.spend_window = p_window;
    else
      v_at := clock_timestamp();
      insert into public.token_default_spend_caps as d (plan_type, spend_window, tokens, reason, actor_role, actor_id)
      values (p_plan_type, p_window, p_tokens, p_reason, v_actor.actor_role, v_actor.actor_id)
      on conflict (plan_type, spend_window) do update
         set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
             actor_id = excluded.actor_id, updated_at = v_at;
    end if;
  end if;

  -- record
  perform tokenbook.record_change(
    'set_token_spend_cap', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
    jsonb_build_object('scope', v_scope, 'plan_type', p_plan_type, 'window', p_window, 'tokens', coalesce(p_tokens::text, 'none')));
  return jsonb_build_object(
    'success', true,
    'scope', v_scope,
    'window', p_window,
    'limit', p_tokens,
    'used', v_used);
end
$$;
comment on function tokenbook.set_token_spend_cap is
  'Caps what may be spent in a window: by one user (p_user_id), by each user on a plan (p_plan_type), or by each user there is (p_for_everyone true); one of the three has to be said. For an admin or the server. p_window day, week (ISO) or month, in UTC; p_tokens 0 to 10^12, NULL takes the cap away; p_reason 1 to 500 characters. The tightest cap holds. Returns {success, scope (user, plan, everyone), window, limit, used (by that user, in the present window)}. Errors: invalid_scope, invalid_cap, invalid_reason, plan_not_found, user_not_found, forbidden, busy.';
