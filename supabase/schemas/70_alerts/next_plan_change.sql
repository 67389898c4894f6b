/*
 * When the rules that hold for a user change by time alone: when their plan ends, and rules are of plans. NULL: not.
 * Caller: internal.
 */
create function tokenbook.next_plan_change(p_user_id uuid, p_at timestamptz)
returns timestamptz
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select least(
             case when s.next_plan_type is not null and s.expires_at > p_at then s.expires_at end,
             case when tokenbook.plan_ends_at(s) > p_at then tokenbook.plan_ends_at(s) end)
      from tokenbook.subscriptions s
     where s.user_id = p_user_id and s.ended_at is null
       and exists (select from public.token_alert_rules r where r.plan_type is not null)); -- @rules-follow-the-plan
end
$$;
comment on function tokenbook.next_plan_change is
  'When the alert rules that hold for a user change because their plan ends; NULL when they do not.';
