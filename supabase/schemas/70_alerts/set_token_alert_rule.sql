/*
 * Sets one alert rule: for a user, for a plan, or (p_for_everyone) for everyone; what was set under that name for the
 * same ones is replaced. Holds from its commit on, while traffic runs: each account's thresholds are set
 * anew by the next call that touches it (arm_token_alerts for accounts that no call touches). A user who is below
 * the threshold already gets no alert; from then on every crossing counts.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_scope, invalid_alert_rule, plan_not_found, user_not_found.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_alert_rule(
  p_rule text,
  p_kind text,
  p_threshold_tokens bigint default null,
  p_threshold_percent integer default null,
  p_hours integer default null,
  p_plan_type text default null,
  p_user_id uuid default null,
  p_notify_recovered boolean default false,
  p_is_enabled boolean default true,
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
  v_asked public.token_alert_rules;
  v_asks text := tokenbook.alert_kinds() -> p_kind ->> 'asks';
  v_fault text;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_asked.rule := p_rule;
  v_asked.kind := p_kind;
  v_asked.threshold_tokens := p_threshold_tokens;
  v_asked.threshold_percent := p_threshold_percent;
  v_asked.hours := p_hours;
  v_asked.plan_type := p_plan_type;
  v_asked.user_id := p_user_id;
  v_asked.notify_recovered := p_notify_recovered;
  v_asked.is_enabled := p_is_enabled;
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_scope(v_asked.user_id, v_asked.plan_type, p_for_everyone);
  v_fault := case
    when octet_length(v_asked.rule) > 64 or (v_asked.rule ~ '^[a-z][a-z0-9_]*$') is not true or v_asked.rule = 'auto_top_up'
      then '{"field": "p_rule", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not auto_top_up"}'
    when v_asks is null
      then jsonb_build_object('field', 'p_kind', 'rule', tokenbook.say_one_of((
             select jsonb_object_agg(k.name, null)
               from jsonb_each(tokenbook.alert_kinds()) as k (name, kind) where k.kind ->> 'asks' is not null)))::text
    when v_asked.threshold_tokens not between 1 and 1000000000000
      then '{"field": "p_threshold_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when v_asked.threshold_percent not between 1 and 100
      then '{"field": "p_threshold_percent", "rule": "1 to 100"}'
    when num_nonnulls(v_asked.threshold_tokens, v_asked.threshold_percent) <> (v_asks = 'threshold')::integer
      then '{"field": "p_threshold_tokens", "rule": "this or p_threshold_percent where the kind asks for a threshold, neither otherwise"}'
    when (v_asks = 'hours') <> (v_asked.hours is not null) or v_asked.hours not between 1 and 8760 -- @hours-within-a-year
      then '{"field": "p_hours", "rule": "1 to 8760 where the kind asks for hours, left out otherwise"}'
    when v_asked.notify_recovered is null or (v_asked.notify_recovered and not (tokenbook.alert_kinds() -> v_asked.kind -> 'ends')::boolean)
      then '{"field": "p_notify_recovered", "rule": "true or false, and false where the kind has no end"}'
    when v_asked.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_alert_rule', v_fault::jsonb);
  end if;
  if (select count(*) from public.token_alert_rules r
       where r.user_id is not distinct from v_asked.user_id and r.plan_type is not distinct from v_asked.plan_type
         and r.rule <> v_asked.rule) >= 100 -- each is looked at whenever a threshold is passed
  then
    perform tokenbook.refuse('invalid_alert_rule', '{"field": "p_rule", "rule": "at most 100 for the same users"}');
  end if;
  if v_asked.plan_type is not null
    and not exists (select 1 from public.token_plans p where p.plan_type = v_asked.plan_type)
  then
    perform tokenbook.refuse('plan_not_found', '{}');
  end if;
  if v_asked.user_id is not null then
    perform tokenbook.require_user(v_asked.user_id, 'service');
    perform tokenbook.require_here(v_asked.user_id, p_for_write => true);
  end if;

  -- act
  perform tokenbook.outdate_alert_thresholds();
  v_at := clock_timestamp();
  insert into public.token_alert_rules as r
    (user_id, plan_type, rule, kind, threshold_tokens, threshold_percent, hours, notify_recovered, is_enabled)
  values
    (v_asked.user_id, v_asked.plan_type, v_asked.rule, v_asked.kind, v_asked.threshold_tokens,
     v_asked.threshold_percent, v_asked.hours, v_asked.notify_recovered, v_asked.is_enabled)
  on conflict on constraint token_alert_rules_key do update
     set kind = excluded.kind,
         threshold_tokens = excluded.threshold_tokens,
         threshold_percent = excluded.threshold_percent,
         hours = excluded.hours,
         notify_recovered = excluded.notify_recovered,
         is_enabled = excluded.is_enabled,
         updated_at = v_at
  returning r.* into v_asked;

  -- record
  perform tokenbook.record_change(
    'set_token_alert_rule', v_asked.user_id, v_actor.actor_role, v_actor.actor_id, null,
    to_jsonb(v_asked) - array['id', 'user_id', 'updated_at']);
  return to_jsonb(v_asked);
end
$$;
comment on function tokenbook.set_token_alert_rule is
  'Sets an alert rule for a user (p_user_id), for a plan (p_plan_type) or for everyone (p_for_everyone true); one of the three has to be said. Of the rules of one name the closest holds. For an admin or the server. p_rule its name; p_kind dropped (fewer than p_threshold_tokens, or than p_threshold_percent of the plan limit), depleted (nothing left), expiring_soon (a grant runs out within p_hours); p_notify_recovered: the end of it is an alert too; p_is_enabled false: none for these, whatever a wider rule says. Returns the row of token_alert_rules. Errors: invalid_scope, invalid_alert_rule, plan_not_found, user_not_found, forbidden.';
