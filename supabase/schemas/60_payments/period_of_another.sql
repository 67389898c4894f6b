/*
 * Whether the period that a subscription's payment would pay for has been booked for another one already: then what
 * that is; NULL: it may be booked. For payments that may be a setup fee as high as the price, of which nothing says
 * which is which: so of payments that begin within half a period of each other as many are booked as there are periods
 * among them, or as the provider says that were paid for since the payment before them. Whichever is heard of first is
 * booked; how many are, does not depend on it. Payments that follow each other so closely are
 * looked at for three periods back and ahead (I11).
 * Caller: internal, holding the account's lock.   Keeps: I11, I12.
 */
create function tokenbook.period_of_another(p_facts tokenbook.provider_payments, p_ids text[])
returns jsonb
language plpgsql
volatile -- sees what was committed while its caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- a moment's text must not depend on the session's time zone
as $$
declare
  v_period constant interval := coalesce(
    (select tokenbook.period_end(row(p.*)::public.token_plans, 'epoch') - 'epoch' -- one length, whichever of two payments is asked about
       from public.token_plans p where p.plan_type = p_facts.plan_type),
    interval '28 days');
  v_near record;
  v_first timestamptz;
  v_last timestamptz;
  v_periods integer := 0;
  v_booked integer := 0;
  v_cycles integer;
  v_cycles_before integer := 0;
  v_other record;
begin
  if num_nonnulls(p_facts.plan_type, p_facts.subscription_id, p_facts.period_start) < 3 then
    return null;
  end if;
  for v_near in
    with known as (
      select f.provider_payment_id as id, f.period_start, f.cycles_completed,
             exists (select 1 from public.token_payments p
                      where p.user_id = f.user_id and p.provider = f.provider
                        and p.provider_payment_id = f.provider_payment_id) as is_booked
        from tokenbook.provider_payments f
       where f.provider = p_facts.provider and f.subscription_id = p_facts.subscription_id
         and f.period_start > p_facts.period_start - 3 * v_period and f.period_start < p_facts.period_start + 3 * v_period
         and f.plan_type = p_facts.plan_type and f.is_paid and f.provider_payment_id <> all (p_ids)
      union all
      select null, p_facts.period_start, p_facts.cycles_completed, false
    ), spaced as (
      select k.*, lag(k.period_start) over by_time <= k.period_start - v_period / 2 as is_apart
        from known k
      window by_time as (order by k.period_start, k.id)
    ), grouped as (
      select s.*, count(*) filter (where s.is_apart) over (order by s.period_start, s.id) as nth_group from spaced s
    )
    select g.* from grouped g
     where g.nth_group = (select own.nth_group from grouped own where own.id is null)
     order by g.period_start, g.id
  loop
    v_first := coalesce(v_first, v_near.period_start);
    if (v_near.period_start < v_last + v_period / 2) is not true then
      v_periods := v_periods + 1;
      v_last := v_near.period_start;
    end if;
    v_cycles := greatest(v_cycles, v_near.cycles_completed);
    if v_near.is_booked then
      v_booked := v_booked + 1;
      v_other := v_near;
    end if;
  end loop;
  if v_booked < v_periods then
    return null;
  end if;

  -- a period whose payment failed and was made up for later: the provider's count includes it
  select f.cycles_completed into v_cycles_before
    from tokenbook.provider_payments f
   where f.provider = p_facts.provider and f.subscription_id = p_facts.subscription_id and f.period_start < v_first
     and f.is_paid and f.provider_payment_id <> all (p_ids)
   order by f.period_start desc nulls last
   limit 1;
  if v_booked < v_cycles - (case when found then v_cycles_before else 0 end) then -- @counted-cycles-are-paid
    return null;
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'other_payment_id', v_other.id, 'other_period_start', v_other.period_start, 'cycles_completed', v_cycles));
end
$$;
comment on function tokenbook.period_of_another is
  'Which booked payment of the same subscription has the period that this one would pay for, as JSON; NULL: none.';
