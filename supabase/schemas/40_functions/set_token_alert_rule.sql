/*
 * Sets one alert rule: for a user, for a plan, or for everyone; what was set under that name for the
 * same ones is replaced. Holds from its commit on, while traffic runs: each account's marks are set
 * anew by whoever touches it next (arm_token_alerts for those whom nobody touches). Who is below the
 * threshold already is not told; from then on every crossing counts.
 * Caller: an admin, service_role.   Locks: the rules' version.
 * Errors: not_authenticated, forbidden, invalid_alert_rule, plan_not_found, user_not_found.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.set_token_alert_rule(p_rule public.token_alert_rules)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_fault text;
begin
  -- validate
  perform private.authorize_operator();
  v_fault := case
    when octet_length(p_rule.rule) > 64 or (p_rule.rule ~ '^[a-z][a-z0-9_]*$') is not true or p_rule.rule = 'auto_top_up'
      then '{"field": "p_rule", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not auto_top_up"}'
    when (p_rule.kind in ('dropped', 'depleted', 'expiring_soon')) is not true
      then '{"field": "p_kind", "rule": "dropped, depleted or expiring_soon"}'
    when p_rule.threshold_tokens not between 1 and 1000000000000
      then '{"field": "p_threshold_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when p_rule.threshold_percent not between 1 and 100
      then '{"field": "p_threshold_percent", "rule": "1 to 100"}'
    when num_nonnulls(p_rule.threshold_tokens, p_rule.threshold_percent) <> (p_rule.kind = 'dropped')::integer
      then '{"field": "p_threshold_tokens", "rule": "this or p_threshold_percent with dropped, neither otherwise"}'
    when (p_rule.kind = 'expiring_soon') <> coalesce(p_rule.hours between 1 and 8760, p_rule.hours is not null)
      then '{"field": "p_hours", "rule": "1 to 8760 with expiring_soon, left out otherwise"}'
    when p_rule.notify_recovered is null or (p_rule.notify_recovered and p_rule.kind = 'expiring_soon')
      then '{"field": "p_notify_recovered", "rule": "true or false, and false with expiring_soon"}'
    when p_rule.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
    when num_nonnulls(p_rule.user_id, p_rule.plan_type) > 1
      then '{"field": "p_plan_type", "rule": "this or p_user_id, not both"}'
  end;
  if v_fault is not null then
    perform private.refuse('invalid_alert_rule', v_fault::jsonb);
  end if;
  if p_rule.plan_type is not null
    and not exists (select from public.token_plans p where p.plan_type = p_rule.plan_type)
  then
    perform private.refuse('plan_not_found', '{}');
  end if;
  if p_rule.user_id is not null then
    perform private.require_user(p_rule.user_id, 'service');
  end if;

  -- act
  update private.rules_in_force r set alerts_version = r.alerts_version + 1 where r.is_current;
  insert into public.token_alert_rules as r
    (user_id, plan_type, rule, kind, threshold_tokens, threshold_percent, hours, notify_recovered, is_enabled)
  values
    (p_rule.user_id, p_rule.plan_type, p_rule.rule, p_rule.kind, p_rule.threshold_tokens,
     p_rule.threshold_percent, p_rule.hours, p_rule.notify_recovered, p_rule.is_enabled)
  on conflict on constraint token_alert_rules_key do update
     set kind = excluded.kind,
         threshold_tokens = excluded.threshold_tokens,
         threshold_percent = excluded.threshold_percent,
         hours = excluded.hours,
         notify_recovered = excluded.notify_recovered,
         is_enabled = excluded.is_enabled,
         updated_at = clock_timestamp()
  returning r.* into p_rule;
  return to_jsonb(p_rule);
end
$$;
comment on function private.set_token_alert_rule(public.token_alert_rules) is 'See public.set_token_alert_rule.';
revoke all on function private.set_token_alert_rule(public.token_alert_rules) from public, anon, authenticated, service_role;
grant execute on function private.set_token_alert_rule(public.token_alert_rules) to authenticated, service_role;

create or replace function public.set_token_alert_rule(
  p_rule text,
  p_kind text,
  p_threshold_tokens bigint default null,
  p_threshold_percent integer default null,
  p_hours integer default null,
  p_plan_type text default null,
  p_user_id uuid default null,
  p_notify_recovered boolean default false,
  p_is_enabled boolean default true
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_rule public.token_alert_rules;
begin
  v_rule.rule := p_rule;
  v_rule.kind := p_kind;
  v_rule.threshold_tokens := p_threshold_tokens;
  v_rule.threshold_percent := p_threshold_percent;
  v_rule.hours := p_hours;
  v_rule.plan_type := p_plan_type;
  v_rule.user_id := p_user_id;
  v_rule.notify_recovered := p_notify_recovered;
  v_rule.is_enabled := p_is_enabled;
  return private.set_token_alert_rule(v_rule);
end
$$;
comment on function public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean) is
  'Sets an alert rule for everyone, for a plan (p_plan_type) or for a user (p_user_id); of the rules of one name the closest holds. For an admin or the server. p_rule its name; p_kind dropped (fewer than p_threshold_tokens, or than p_threshold_percent of the mark), depleted (nothing left), expiring_soon (a grant runs out within p_hours); p_notify_recovered: the end of it is an alert too; p_is_enabled false: none for these, whatever a wider rule says. Returns the row of token_alert_rules. Errors: invalid_alert_rule, plan_not_found, user_not_found, forbidden.';
revoke all on function public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean) from public, anon, authenticated, service_role;
grant execute on function public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean) to authenticated, service_role;
