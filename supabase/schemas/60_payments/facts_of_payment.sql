/*
 * What is known of a provider's payment, computed in one place from all events of it and of its parts (p_ids), never
 * from what was known before. So the order in which events arrive decides no amount, refund, credit or dispute. It
 * matters in one case: where events contradict each other on who paid or what was bought, what was booked first stays,
 * and the project is told (tokenbook.tell_of_contradicted_payment). The work grows with the events of this payment
 * alone (I11).
 *
 * - User, plan or pack with its quantity, currency, period, price, subscription and customer: from the first event, by
 *   the provider's time and then by its id, that names one which we know. Where no event names one, what an admin
 *   assigned counts; where neither does, the customer's user. Once booked, the user, the plan or pack and the
 *   payment's id stay.
 * - Amount: the largest that an event says; without one, the price in the catalogue.
 * - Refunds: each by its own id, as its latest event says; pending and succeeded ones count. Or the provider's running
 *   total, less what failed since, where that is more. Each part by itself, then added up.
 * - Credits: what the provider credited to the customer for unused time that had been paid for, each by its own id. A
 *   credit counts like a refund; the customer pays something else with it.
 * - Disputes: each by its own id, as its latest event says; open and lost ones withhold their amount.
 * - Reversals: what a provider took back by itself, each by its own id. A reversal belongs to a dispute that was open
 *   when it came, or that has its amount and was not won before. Then the dispute decides whether the money is gone, up
 *   to its largest amount. The rest of it, and a reversal without a dispute, is gone.
 * - PayPal reports one loss twice, as a refund and as the outcome of a dispute. So there the refunds since a dispute
 *   began are a part of what it came to when it was lost, up to its amount. At Stripe they are two losses.
 * - A payment that may be a subscription's setup fee and not its price waits for an admin's decision, if another payment
 *   has been booked for the period that it would pay for (tokenbook.period_of_another). A payment from the customer's
 *   balance waits too, while a credit waits that put money there which cannot be traced.
 * - More disputes and reversals of one payment than limits() allows (payment_disputes) are not weighed: all of the payment
 *   counts as lost, and the project is told. Weighing them would grow with their square, and no real payment has so many.
 * An amount in another currency than the payment's cannot be compared, and counts as all of the payment; so does the
 * amount of a dispute that says none.
 * Of two events at one moment, the one that ends a refund or dispute is later than the one that begins it.
 * Caller: internal, holding the locks of these ids.   Locks: the account, where it asks what else is booked.   Keeps: I12.
 */
create function tokenbook.facts_of_payment(p_provider text, p_ids text[])
returns tokenbook.provider_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_payments;
  v_booked public.token_payments;
  v_reason text;
  v_details jsonb;
  v_is_assigned boolean; -- an admin has said what it is
  v_may_be_fee boolean;
  v_told_at timestamptz; -- when it was paid
  v_charged bigint;
  v_are_too_many boolean;
  v_made jsonb; -- refunds that have gone: when each was made, and of how much
begin
  select p.* into v_booked
    from tokenbook.provider_payments f
    join public.token_payments p
      on p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id
   where f.provider = p_provider and f.provider_payment_id = any (p_ids)
   order by p.decided_at, p.id
   limit 1;

  with told as materialized (
    select e.facts as f, e.facts ->> 'kind' as kind, e.provider_payment_id as part, e.occurred_at,
           row_number() over (
             order by e.facts ->> 'kind' = 'assigned', e.occurred_at, e.event_id, e.provider_payment_id, e.digest) as nth
      from tokenbook.provider_events e
     where e.provider = p_provider and e.provider_payment_id = any (p_ids)
  ), users as (
    select (t.f ->> 'user_id')::uuid as user_id, t.kind = 'assigned' as is_assigned, min(t.nth) as nth
      from told t where t.f ? 'user_id' group by 1, 2
  ), things as (
    select t.f ->> 'plan_type' as plan_type, t.f ->> 'pack_type' as pack_type,
           coalesce((t.f ->> 'quantity')::integer, 1) as quantity, min(t.nth) as nth
      from told t
     where t.kind in ('paid', 'assigned') and num_nonnulls(t.f -> 'plan_type', t.f -> 'pack_type') = 1
       and not t.f ? 'parked_reason' -- that one gives nothing by itself
     group by 1, 2, 3
  ), known as (
    select th.*, most.at_most, th.quantity > most.at_most as is_too_many
      from things th
      left join public.token_plans p on p.plan_type = th.plan_type
      left join public.token_packs k on k.pack_type = th.pack_type
     cross join lateral (
       select case when p.plan_type is not null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end as at_most) most
     where p.plan_type is not null or k.pack_type is not null
  )
  select one.is_paid, one.is_assigned, one.told_at, one.may_be_fee, one.cycles_completed, one.from_balance_cents, one.whole, one.customer_id, one.currency,
         one.period_start, one.price_id, one.subscription_id,
         bought.plan_type, bought.pack_type, bought.quantity,
         (select u.user_id from users u
           where tokenbook.is_known_user(u.user_id)
           order by u.nth limit 1),
         coalesce(
           one.reason,
           case when exists (select 1 from known n where n.is_too_many) then 'quantity'
                when one.price_id is not null or exists (select 1 from things) then 'price_unknown'
                else 'nothing_named' end),
         case when one.reason is not null then one.details
              else (select jsonb_build_object('quantity', n.quantity, 'at_most', n.at_most) from known n where n.is_too_many order by n.nth limit 1) end
    into v_facts.is_paid, v_is_assigned, v_told_at, v_may_be_fee, v_facts.cycles_completed, v_facts.from_balance_cents, v_facts.provider_payment_id,
         v_facts.customer_id, v_facts.currency, v_facts.period_start, v_facts.price_id, v_facts.subscription_id, v_facts.plan_type, v_facts.pack_type, v_facts.quantity, v_facts.user_id,
         v_reason, v_details
    from (
      select coalesce(bool_or(t.kind = 'paid'), false) as is_paid,
             coalesce(bool_or(t.kind = 'assigned'), false) as is_assigned,
             coalesce(bool_or((t.f ->> 'may_be_fee')::boolean), false) as may_be_fee,
             max((t.f ->> 'cycles_completed')::integer) as cycles_completed,
             min(t.occurred_at) filter (where t.kind = 'paid') as told_at,
             (array_agg((t.f ->> 'from_balance_cents')::bigint order by t.nth) filter (where t.f ? 'from_balance_cents'))[1] as from_balance_cents,
             (array_agg(t.part order by t.nth) filter (where t.kind = 'paid' and t.f ? 'parts'))[1] as whole,
             (array_agg(t.f ->> 'customer_id' order by t.nth) filter (where t.f ? 'customer_id'))[1] as customer_id,
             (array_agg(lower(t.f ->> 'currency') order by t.kind <> 'paid', t.nth) filter (where t.f ? 'currency'))[1] as currency,
             (array_agg((t.f ->> 'period_start')::timestamptz order by t.nth) filter (where t.f ? 'period_start'))[1] as period_start,
             (array_agg(t.f ->> 'price_id' order by t.nth) filter (where t.f ? 'price_id'))[1] as price_id,
             (array_agg(t.f ->> 'subscription_id' order by t.nth) filter (where t.f ? 'subscription_id'))[1] as subscription_id,
             (array_agg(t.f ->> 'parked_reason' order by t.nth) filter (where t.f ? 'parked_reason'))[1] as reason,
             (array_agg(t.f -> 'parked_details' order by t.nth) filter (where t.f ? 'parked_reason'))[1] as details
        from told t) one
    left join lateral (
      select n.plan_type, n.pack_type, n.quantity from known n where not n.is_too_many order by n.nth limit 1) bought on true;

  v_facts.provider := p_provider;
  v_facts.user_id := coalesce(v_facts.user_id, (
    select c.user_id from tokenbook.provider_customers c
     where c.provider = p_provider and c.customer_id = v_facts.customer_id -- @customers-find-users
  ));
  if v_booked.id is not null then
    v_facts.provider_payment_id := v_booked.provider_payment_id;
    v_facts.user_id := v_booked.user_id; -- @booked-once-stays
    v_facts.plan_type := v_booked.to_plan;
    v_facts.pack_type := v_booked.pack_type;
    v_facts.quantity := v_booked.quantity;
  end if;
  v_facts.provider_payment_id := coalesce(v_facts.provider_payment_id, p_ids[1]);
  v_facts.parked_reason := case
    when not v_facts.is_paid then null -- nobody waits for anything
    when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then v_reason
    when v_facts.user_id is null then 'user_unknown'
  end;
  v_facts.parked_details := case when v_facts.parked_reason = v_reason then v_details end;
  if v_facts.is_paid and v_facts.parked_reason is null and v_booked.id is null
    and not v_is_assigned -- @assigned-is-decided
  then
    if v_may_be_fee then
      perform tokenbook.lock_account(v_facts.user_id, p_create => true); -- @periods-after-lock: two of one may come at once
      v_facts.parked_details := tokenbook.period_of_another(v_facts, p_ids);
      v_facts.parked_reason := case when v_facts.parked_details is not null then 'second_in_period' end; -- @one-payment-a-period
    end if;
    if v_facts.parked_reason is null and v_facts.from_balance_cents > 0 then
      v_facts.parked_details := (
        select jsonb_build_object('credited_payment_id', c.provider_payment_id, 'from_balance_cents', v_facts.from_balance_cents)
          from tokenbook.open_credits(p_provider, v_facts.customer_id) c
         where c.credited_at <= v_told_at
         order by c.credited_at, c.provider_payment_id
         limit 1);
      v_facts.parked_reason := case when v_facts.parked_details is not null then 'paid_with_credit' end; -- @credits-are-decided-first
    end if;
  elsif v_facts.parked_reason = 'credited' and v_facts.from_balance_cents < 0 then
    v_facts.parked_details := (
      select jsonb_build_object('already_paid_with', jsonb_agg(paid.id order by paid.id))
        from (
          select f.provider_payment_id as id
            from tokenbook.provider_payments f
            join public.token_payments p
              on p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id
           where f.provider = p_provider and f.customer_id = v_facts.customer_id and f.from_balance_cents > 0
             and (select min(e.occurred_at) from tokenbook.provider_events e
                   where e.provider = f.provider and e.provider_payment_id = f.provider_payment_id
                     and e.facts ->> 'kind' = 'paid') >= v_told_at
           order by f.created_at
           limit 10) paid
      having count(*) > 0);
  end if;

  -- the amount
  select max((e.facts ->> 'amount_cents')::bigint) -- @largest-amount-counts
    into v_facts.amount_cents
    from tokenbook.provider_events e
   where e.provider = p_provider and e.provider_payment_id = any (p_ids)
     and e.facts ->> 'kind' = 'paid' and (lower(e.facts ->> 'currency') <> v_facts.currency) is not true;
  -- what each part was charged says it of all together, where each is told
  select sum(part.amount_cents) into v_charged
    from (select max((e.facts ->> 'amount_cents')::bigint) as amount_cents
            from tokenbook.provider_events e
           where e.provider = p_provider and e.provider_payment_id = any (p_ids)
             and e.facts ->> 'kind' = 'refunded' and (lower(e.facts ->> 'currency') <> v_facts.currency) is not true
           group by e.provider_payment_id) part
  having count(part.amount_cents) = cardinality(p_ids);
  v_facts.amount_cents := coalesce(
    greatest(v_facts.amount_cents, v_charged),
    v_booked.amount_cents,
    (select p.price_cents from public.token_plans p where p.plan_type = v_facts.plan_type),
    (select p.price_cents * v_facts.quantity from public.token_packs p where p.pack_type = v_facts.pack_type));

  -- what went back
  with told as materialized (
    select e.*, e.facts ->> 'kind' as kind, e.provider_payment_id as part,
           -- what cannot be compared is all of it
           case when (lower(e.facts ->> 'currency') <> v_facts.currency) is true then v_facts.amount_cents -- @other-currencies-are-all begin
                else coalesce(e.facts ->> 'refunded_cents', e.facts ->> 'amount_cents')::bigint end as cents -- @other-currencies-are-all end
      from tokenbook.provider_events e
     where e.provider = p_provider and e.provider_payment_id = any (p_ids)
       and e.facts ->> 'kind' in ('refund', 'refunded', 'credit')
  ), refunds as (
    select distinct on (t.facts ->> 'refund_id')
           t.part, t.occurred_at, t.cents, t.made_at,
           t.facts ->> 'status' in ('pending', 'succeeded') as has_gone -- @failed-refunds-come-back
      from (
        select t.*, min(t.occurred_at) over (partition by t.facts ->> 'refund_id') as made_at
          from told t
         where t.kind = 'refund') t
     order by t.facts ->> 'refund_id', t.occurred_at desc,
              array_position(array['pending', 'succeeded', 'canceled', 'failed'], t.facts ->> 'status') desc,
              t.cents desc, t.part
  ), totals as (
    select distinct on (t.part) t.part, t.occurred_at, t.cents
      from told t
     where t.kind = 'refunded'
     order by t.part, t.occurred_at desc, -- @latest-total-counts
              t.cents desc
  ), credits as (
    select max(t.cents) as cents from told t where t.kind = 'credit' group by t.facts ->> 'credit_id'
  )
  select least(
           coalesce(sum(greatest(
             r.gone_cents,
             t.cents - r.failed_since_cents, -- @totals-less-what-failed
             0)), 0)
             + (select coalesce(sum(c.cents), 0) from credits c), -- @credits-take-their-share
           v_facts.amount_cents),
         (select jsonb_agg(jsonb_build_object('made_at', r.made_at, 'cents', r.cents)) from refunds r where r.has_gone)
    into v_facts.refunded_cents, v_made
    from unnest(p_ids) as part (id)
    left join totals t on t.part = part.id
   cross join lateral (
     select sum(r.cents) filter (where r.has_gone) as gone_cents,
            coalesce(sum(r.cents) filter (where not r.has_gone and r.occurred_at >= t.occurred_at), 0) as failed_since_cents
       from refunds r where r.part = part.id) r;

  -- what is withheld
  v_are_too_many := (
    select count(distinct e.facts ->> 'dispute_id')
      from tokenbook.provider_events e
     where e.provider = p_provider and e.provider_payment_id = any (p_ids) and e.facts ->> 'kind' = 'dispute'
  ) > (tokenbook.limits() -> 'payment_disputes')::integer; -- @disputes-have-a-bound
  if v_are_too_many then
    v_facts.disputed_cents := v_facts.amount_cents - v_facts.refunded_cents;
  else
    with told as materialized (
      select e.facts ->> 'dispute_id' as id, -- @disputes-by-id
             e.facts ->> 'status' as status, e.occurred_at,
             coalesce(
               case when (lower(e.facts ->> 'currency') <> v_facts.currency) is not true then (e.facts ->> 'amount_cents')::bigint end,
               v_facts.amount_cents) as cents,
             row_number() over (
               order by e.occurred_at, array_position(array['inquiry', 'reversed', 'open', 'won', 'lost'], e.facts ->> 'status'),
                        (e.facts ->> 'amount_cents')::bigint, e.facts ->> 'currency' desc) as nth
        from tokenbook.provider_events e
       where e.provider = p_provider and e.provider_payment_id = any (p_ids) and e.facts ->> 'kind' = 'dispute'
    ), ends as (
      select distinct on (t.id) t.*, min(t.occurred_at) over (partition by t.id) as began_at from told t order by t.id, t.nth desc
    ), losses as (
      -- of each dispute that was lost: what it and the later ones came to, and what was refunded meanwhile; no refund
      -- is of one that began after it, so what is left of them is the most that is left from any beginning on
      select l.is_dispute, sum(l.cents) over (order by l.at desc) as cents
        from (
          select e.began_at as at, e.cents, true as is_dispute from ends e where e.status = 'lost'
          union all
          select r.made_at, -r.cents, false
            from jsonb_to_recordset(v_made) r (made_at timestamptz, cents bigint)
           where p_provider = 'paypal') l -- @refunds-of-lost-disputes
    ), courses as materialized (
      -- what each dispute was, from its beginning on, how it ended, and the most that it was about
      select t.id, t.status, t.occurred_at, t.nth, e.cents,
             min(t.occurred_at) over (partition by t.id) as since, max(t.cents) over (partition by t.id) as most_cents
        from told t
        join ends e on e.id = t.id and e.status <> 'reversed'
       where t.status in ('open', 'won', 'lost')
    ), reversals as (
      -- each, and whose it is: of several disputes, the one that has its amount, then the one that was first
      select distinct on (r.id) r.id, r.cents, r.dispute_id, r.most_cents
        from (
          select d.*
            from (
              select r.id, r.cents, c.id as dispute_id, c.most_cents, c.since, r.cents in (c.cents, c.most_cents) as is_alike,
                     -- how the dispute stood when the reversal came, and whether it went on
                     (array_agg(c.status order by c.nth desc) filter (where c.occurred_at <= r.occurred_at))[1] as was,
                     bool_or(c.occurred_at > r.occurred_at and c.status <> 'won') as goes_on
                from ends r
               cross join courses c
               where r.status = 'reversed'
               group by r.id, r.cents, r.occurred_at, c.id, c.cents, c.most_cents, c.since) d
           where d.was = 'open' -- @reversals-of-open-disputes
              or d.is_alike
                 and (d.was = 'won' and not d.goes_on) is not true -- @won-disputes-are-over
          union all
          select r.id, r.cents, null, null, null, null, null, null from ends r where r.status = 'reversed') r
       order by r.id, r.is_alike desc nulls last, r.since, r.dispute_id
    ), own as (
      -- what of them no dispute says the end of
      select greatest(sum(r.cents) - coalesce(max(r.most_cents), 0), 0) as cents -- @no-more-than-disputed
        from reversals r
       group by r.dispute_id
    )
    select least(
             coalesce((select sum(e.cents) from ends e where e.status = 'open'), 0)
               + coalesce((select greatest(max(l.cents), 0) from losses l where l.is_dispute), 0)
               + coalesce((select sum(o.cents) from own o), 0),
             v_facts.amount_cents - v_facts.refunded_cents)
      into v_facts.disputed_cents;
  end if;

  -- what else was told
  select nullif(jsonb_strip_nulls(jsonb_build_object(
           'user_id', jsonb_agg(distinct (e.facts ->> 'user_id')::uuid) filter (where (e.facts ->> 'user_id')::uuid <> v_facts.user_id),
           'plan_type', jsonb_agg(distinct e.facts ->> 'plan_type') filter (where e.facts ->> 'plan_type' <> v_facts.plan_type or v_facts.pack_type is not null and e.facts ? 'plan_type'),
           'pack_type', jsonb_agg(distinct e.facts ->> 'pack_type') filter (where e.facts ->> 'pack_type' <> v_facts.pack_type or v_facts.plan_type is not null and e.facts ? 'pack_type'),
           'quantity', jsonb_agg(distinct (e.facts ->> 'quantity')::integer) filter (where (e.facts ->> 'quantity')::integer <> v_facts.quantity),
           'currency', jsonb_agg(distinct lower(e.facts ->> 'currency')) filter (where lower(e.facts ->> 'currency') <> v_facts.currency),
           'disputes', case when v_are_too_many then jsonb_build_array('more than ' || (tokenbook.limits() ->> 'payment_disputes')) end)), '{}')
    into v_facts.disagrees
    from tokenbook.provider_events e
   where e.provider = p_provider and e.provider_payment_id = any (p_ids);
  return v_facts;
end
$$;
comment on function tokenbook.facts_of_payment is
  'What is known of a provider''s payment, computed from all that was told of it and of its parts.';
