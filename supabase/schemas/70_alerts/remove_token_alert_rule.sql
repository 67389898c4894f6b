/*
 * Removes one alert rule; the next wider one of its name, if there is one, holds instead. Alerts that
 * were raised by it stay. No longer there: no error.
 * Caller: an admin, service_role.   Locks: the settings.   Errors: not_authenticated, forbidden, invalid_scope,
 * invalid_alert_rule.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.remove_token_alert_rule(
  p_rule text,
  p_plan_type text default null,
  p_user_id uuid default null,
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
begin
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_scope(p_user_id, p_plan_type, p_for_everyone);
  if octet_length(p_rule) > 64 then -- no rule has such a name
    perform tokenbook.refuse('invalid_alert_rule', '{"field": "p_rule", "rule": "at most 64 bytes"}');
  end if;
  perform tokenbook.require_here(p_user_id, p_for_write => true);
  delete from public.token_alert_rules r
   where r.rule = p_rule
     and r.plan_type is not distinct from p_plan_type
     and r.user_id is not distinct from p_user_id;
  if not found then
    return jsonb_build_object('success', true, 'removed', false);
  end if;
  perform tokenbook.outdate_alert_thresholds();
  perform tokenbook.record_change(
    'remove_token_alert_rule', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
    jsonb_build_object('rule', p_rule, 'plan_type', p_plan_type));
  return jsonb_build_object('success', true, 'removed', true);
end
$$;
comment on function tokenbook.remove_token_alert_rule is
  'Removes the alert rule of that name for a user (p_user_id), for a plan (p_plan_type) or for everyone (p_for_everyone true); one of the three has to be said. For an admin or the server. Returns {success, removed (false: there was none)}. Errors: invalid_scope, invalid_alert_rule, forbidden.';
