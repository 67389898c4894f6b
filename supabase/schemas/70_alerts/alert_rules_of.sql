/*
 * The rules that hold for a user now: of each name the closest one (their own, their plan's, everyone's),
 * unless that one is switched off. threshold is in tokens: a share of the plan limit is brought to the next
 * whole token above, so that "fewer than" means the same; NULL for expiring_soon.
 * Caller: internal.
 */
create function tokenbook.alert_rules_of(p_user_id uuid)
returns table (rule text, kind text, threshold bigint, threshold_percent integer, hours integer, notify_recovered boolean)
language plpgsql
volatile -- it must see rules that were changed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription record;
begin
  select s.* into v_subscription from public.token_subscriptions s where s.user_id = p_user_id;
  return query
  select closest.rule, closest.kind,
         case closest.kind
           when 'depleted' then 1
           when 'dropped' then
             coalesce(closest.threshold_tokens,
                      ceil(v_subscription.tokens_limit * closest.threshold_percent / 100.0)::bigint)
         end,
         closest.threshold_percent, closest.hours, closest.notify_recovered
    from (
      select distinct on (r.rule) r.*
        from public.token_alert_rules r
       where r.user_id = p_user_id
          or (r.user_id is null and (r.plan_type is null or r.plan_type = v_subscription.plan_type))
       order by r.rule, r.user_id nulls last, r.plan_type nulls last) closest
   where closest.is_enabled
     -- without a subscription there is no plan limit to have a share of
     and (closest.threshold_percent is null or v_subscription.user_id is not null);
end
$$;
comment on function tokenbook.alert_rules_of is
  'The alert rules that hold for a user, the closest of each name, with its threshold in tokens.';
