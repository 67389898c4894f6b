/*
 * Which plans a subscription has had since it was recorded, and since when each (NULL: the one that is recorded): what
 * followed by itself until p_at, one after the other. A plan that has no schedule is one of them too.
 * Caller: internal.
 */
create function tokenbook.subscription_course(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns table (kept tokenbook.subscriptions, since timestamptz)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions := p_subscription;
  v_at timestamptz := '-infinity';
  v_next tokenbook.subscriptions;
begin
  kept := p_subscription;
  return next;
  loop
    v_at := least(
      case when v_is.next_plan_type is not null and v_is.expires_at > v_at then v_is.expires_at end,
      case when tokenbook.plan_ends_at(v_is) > v_at then tokenbook.plan_ends_at(v_is) end,
      case when v_is.paused_at > v_at then v_is.paused_at end);
    exit when v_is.ended_at is not null or (v_at <= p_at) is not true;
    v_next := tokenbook.subscription_at(v_is, v_at);
    if (v_next.plan_type, v_next.period_start) is distinct from (v_is.plan_type, v_is.period_start) then
      kept := v_next;
      since := v_at;
      return next;
    end if;
    v_is := v_next;
  end loop;
end
$$;
comment on function tokenbook.subscription_course is
  'Which plans a subscription has had since it was recorded, and since when each, until p_at.';
