/*
 * The breaches of the invariants, for one user, for everyone, or for the users after p_after up to p_until: what
 * tokenbook.verify_token_ledger says, which also answers for books that cannot even be read.
 * It reads tables only and calls none of the functions that write them, so a fault in those cannot hide itself.
 * The exceptions are the types of grants and the ends of periods: each has one place that defines it, and the rows
 * are compared with that.
 * One kind of entry is left out: one that a clock which stepped back had booked out of the order of time, and that
 * somebody has acknowledged (acknowledge_token_finding).
 * Caller: internal.   Locks: nothing.
 */
create function tokenbook.find_breaches(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- one for any range of users takes each for a handful, and joins them all row by row
as $$
declare
  v_users constant uuid[] := tokenbook.users_between(p_user_id, p_after, p_until);
begin
  return query
  with accounts as (
    select a.*, case when a.state in ('active', 'frozen') then coalesce(a.next_due_at, 'infinity') else '-infinity' end as due_at -- elsewhere nothing is due
      from public.token_accounts a
     where (v_users is null or a.user_id = any (v_users))
  ), grants as (
    select b.* from public.token_balances b
     where (v_users is null or b.user_id = any (v_users))
  ), ledger as (
    select t.*,
           sum(t.tokens - t.reserved_change) over by_number as running,
           row_number() over by_number as nth,
           lag(t.created_at) over by_number as at_before,
           -- incoming tokens cause further entries at the same moment (a release, an expiry, a repayment); the plan limit moves after the last of them
           (lead(t.created_at) over by_number = t.created_at
             and (lead(t.entry_type) over by_number in ('release', 'expiry', 'debt_repayment')
               or (t.action_type = 'scheduled_grant' and lead(t.entry_type) over by_number = 'clawback')
               -- an upcoming grant begins before anything else that is due
               or (t.entry_type = 'grant' and t.original_id is not null and lead(t.actor_role) over by_number = 'system'))) is not true as is_settled
      from public.token_transactions t
     where (v_users is null or t.user_id = any (v_users)) -- @users-of-a-piece
    window by_number as (partition by t.user_id order by t.id)
  ), usages as (
    select u.* from public.token_usage u
     where u.transaction_id is not null
       and (v_users is null or u.user_id = any (v_users))
  ), archived as (
    select a.user_id, a.starts_at, a.action_type, a.member_id, sum(a.uses) as uses, sum(a.tokens) as tokens,
           sum(a.charged_cents) as cost
      from tokenbook.archived_usage a
     where (v_users is null or a.user_id = any (v_users))
     group by a.user_id, a.starts_at, a.action_type, a.member_id
  ), of_usage as (
    select c.user_id, sum(c.cost) as cost
      from (
        select u.user_id, sum(u.cost_estimate) filter (where u.success) as cost from usages u group by u.user_id
        union all
        select a.user_id, sum(a.cost) from archived a group by a.user_id) c -- @archived-cost-counts
     group by c.user_id
  ), allocated as (
    select t.user_id, t.id as transaction_id, t.entry_type, t.created_at, part.grant_id, part.tokens,
           part.tokens * sign(t.tokens - t.reserved_change) as signed
      from ledger t
     cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
  ), recorded as (
    -- each grant as the entry keeps it that gave it
    select t.user_id, t.id as transaction_id, case when t.entry_type in ('grant', 'rollover') then t.metadata end as attached,
           b.id as grant_id, b.grant_type, b.tokens_granted, b.priority, b.granted_at, b.expires_at, b.subscription_id,
           b.period_start, b.rolled_over_from, b.legacy_transaction_id, b.pays_for,
           b.cost_basis_cents, b.currency, b.cost_basis_of, b.created_at
      from ledger t
     cross join lateral jsonb_populate_recordset(null::public.token_balances,
       case jsonb_typeof(t.terms -> 'grants') when 'array' then t.terms -> 'grants' else '[]' end) b
     where t.terms ? 'grants'
  ), to_come as (
    -- upcoming grants: as their entry keeps them, and the entry by which each began or was called off
    select t.user_id, t.id as transaction_id, u.id as grant_id, u.granted_at as starts_at, t.terms -> 'upcoming' as terms,
           t.metadata, t.created_at, came.id as came_id, came.times
      from ledger t
     cross join lateral jsonb_populate_record(null::public.token_balances, t.terms -> 'upcoming') u
      left join (
        select l.user_id, l.original_id, min(l.id) as id, count(*) as times
          from ledger l where l.original_id is not null group by l.user_id, l.original_id) came
        on came.user_id = t.user_id and came.original_id = t.id
     where t.terms ? 'upcoming'
  ), voids as (
    select t.user_id, t.terms ->> 'voids' as grant_id, t.id as transaction_id, t.created_at, t.original_id, t.metadata
      from ledger t
     where t.terms ? 'voids'
       and not exists (select 1 from to_come c where c.user_id = t.user_id and c.transaction_id = t.original_id)
  ), expiries as (
    -- the changes that set_token_grant_expiry made, in order, for each grant
    select t.user_id, t.terms -> 'expiry' ->> 'grant_id' as grant_id, t.id as transaction_id, t.created_at,
           (t.terms -> 'expiry' ->> 'before')::timestamptz as before, (t.terms -> 'expiry' ->> 'after')::timestamptz as after,
           lead(t.id) over by_grant is null as is_last
      from ledger t where t.terms ? 'expiry'
    window by_grant as (partition by t.user_id, t.terms -> 'expiry' ->> 'grant_id' order by t.id)
  ), first_given as (
    select r.* from recorded r
    union all
    -- tokens that came back to a grant which was full were issued again, as another grant on the same terms
    select g.user_id, first.transaction_id, g.metadata, g.id, o.grant_type, first.tokens, o.priority, o.granted_at,
           case when later.transaction_id is not null then later.before
                when o.voided_at > g.created_at then coalesce(latest.after, r.expires_at)
                else o.expires_at end, null, null, null, null, o.pays_for, null, null, coalesce(o.cost_basis_of, o.payment_id,
             case when o.cost_basis_cents is not null or opened.id is not null then o.id end), first.created_at
      from grants g
      join grants o on o.user_id = g.user_id and o.id::text = g.metadata ->> 'given_back_for'
      left join recorded r on r.user_id = o.user_id and r.grant_id = o.id
      left join lateral (
        select a.transaction_id, a.tokens, a.created_at from allocated a
         where a.user_id = g.user_id and a.grant_id = g.id order by a.transaction_id limit 1) first on true
      left join lateral (
        select e.* from expiries e
         where e.user_id = o.user_id and e.grant_id = o.id::text and e.transaction_id > first.transaction_id
         order by e.transaction_id limit 1) later on true
      left join ledger opened on opened.user_id = o.user_id and opened.id = 1 and opened.entry_type = 'opening_balance' and o.id = any (opened.grant_ids)
      left join expiries latest on latest.user_id = o.user_id and latest.grant_id = o.id::text and latest.is_last
     where not exists (select 1 from recorded r where r.user_id = g.user_id and r.grant_id = g.id)
  ), given as (
    -- each grant as it was given, with the expiry that was set last
    select f.user_id, f.transaction_id, f.attached, f.grant_id, f.grant_type, f.tokens_granted, f.priority, f.granted_at,
           case when e.transaction_id is null then f.expires_at else e.after end as expires_at, f.subscription_id,
           f.period_start, f.rolled_over_from, f.legacy_transaction_id, f.pays_for, f.cost_basis_cents,
           f.currency, f.cost_basis_of, f.created_at
      from first_given f
      left join expiries e on e.user_id = f.user_id and e.grant_id = f.grant_id::text and e.is_last
  ), subscriptions as (
    select s.* from tokenbook.subscriptions s
     where (v_users is null or s.user_id = any (v_users))
  ), periods as (
    -- the newest period of each subscription
    select t.user_id, max(t.id) as transaction_id
      from ledger t where jsonb_typeof(t.terms -> 'subscription') = 'object' group by t.user_id
  ), standings as (
    -- each subscription as its newest entry keeps it: one that began a period, or changed which plan is in force
    select newest.user_id, newest.transaction_id, b as kept
      from (
        select distinct on (t.user_id) t.user_id, t.id as transaction_id, coalesce(t.terms -> 'subscription', t.terms -> 'standing') as kept
          from ledger t
         where jsonb_typeof(coalesce(t.terms -> 'subscription', t.terms -> 'standing')) = 'object'
         order by t.user_id, t.id desc) newest
     cross join lateral tokenbook.kept_subscription(newest.kept) b
  ), slots as (
    -- the slots that a plan's schedule gave, with the subscription as it was before, both from their entries
    select e.user_id, e.id as transaction_id, e.tokens, e.created_at, e.given -> 'id' as grant_id,
           (e.given ->> 'granted_at')::timestamptz as slot_start, (e.given ->> 'expires_at')::timestamptz as expires_at,
           (e.kept ->> 'first')::timestamptz as first_start, (e.kept ->> 'count')::integer as count,
           (e.kept ->> 'had')::bigint as had, e.kept ->> 'payment_id' as payment_id, e.kept ->> 'plan_type' as plan_type,
           e.kept -> 'schedule' as schedule,
           (e.kept ->> 'period_start')::timestamptz as period_start, (e.kept ->> 'until')::timestamptz as until,
           case when e.before ->> 'period_start' = e.kept ->> 'period_start' and e.before ->> 'plan_type' = e.kept ->> 'plan_type'
                then e.before -> 'schedule' end as schedule_before,
           lag((e.given ->> 'granted_at')::timestamptz)
             over (partition by e.user_id, e.kept ->> 'plan_type', e.kept ->> 'payment_id', e.kept ->> 'period_start'
                   order by (e.given ->> 'granted_at')::timestamptz, e.id) as start_before
      from (
        select t.user_id, t.id, t.tokens, t.created_at, t.terms -> 'grants' -> 0 as given, t.terms -> 'slots' as kept,
               lag(coalesce(t.terms -> 'subscription', t.terms -> 'standing')) over (partition by t.user_id order by t.id) as before
          from ledger t where jsonb_typeof(coalesce(t.terms -> 'subscription', t.terms -> 'standing')) = 'object') e
     where jsonb_typeof(e.kept) = 'object'
  ), downgrades as (
    select distinct on (t.user_id) t.user_id, t.metadata ->> 'plan_type' as plan_type, t.metadata ->> 'effective_at' as effective_at
      from ledger t
      join standings p on p.user_id = t.user_id and p.transaction_id < t.id
     where t.action_type = 'plan_change' and t.metadata ? 'effective_at'
       and t.entry_type = 'usage' and t.usage_id is null -- @plan-changes-use-nothing: what a caller can name so is a use
     order by t.user_id, t.id desc
  ), limit_moves as (
    -- since the newest period began: the entries that moved the plan limit, and the balances that it was raised to
    select t.user_id, t.is_settled, t.balance_after - sum(moved.by) over (partition by t.user_id order by t.id) as base, moved.by
      from ledger t
      join periods p on p.user_id = t.user_id and p.transaction_id <= t.id
     cross join lateral (select case when t.id > p.transaction_id and t.entry_type in ('clawback', 'restoration')
                                     then t.tokens - t.debt_change else 0 end as by) moved
  ), plan_limits as (
    select m.user_id, sum(m.by) + max(m.base) filter (where m.is_settled) as tokens
      from limit_moves m group by m.user_id
  ), payments as (
    select p.* from public.token_payments p
     where (v_users is null or p.user_id = any (v_users))
  ), of_slots as (
    -- the slots of each payment, those included that its period gave before it was paid for
    select s.user_id, coalesce(s.payment_id, p.id::text) as payment_id, sum(s.tokens) as tokens
      from slots s
      left join grants g on g.user_id = s.user_id and g.period_start = s.period_start and s.payment_id is null
      left join payments p
        on p.user_id = g.user_id and p.id = g.payment_id and p.to_plan = s.plan_type and s.created_at <= p.created_at
     group by s.user_id, coalesce(s.payment_id, p.id::text)
  ), paid_later as (
    -- the payment of grants that were made before it was known: slots given earlier, and grants that a rollover carried on
    select s.user_id, s.grant_id, p.id as payment_id
      from slots s
      join grants g on g.user_id = s.user_id and g.period_start = s.period_start
      join payments p on p.user_id = g.user_id and p.id = g.payment_id and p.to_plan = s.plan_type and s.created_at <= p.created_at
     where s.payment_id is null
    union all
    select g.user_id, to_jsonb(g.id), c.payment_id
      from grants g
      join grants c on c.user_id = g.user_id and c.id = g.rolled_over_from
     where c.payment_id is not null
  ), plans as (
    -- every plan of each subscription; number 1 is the one recorded as in force
    select s.user_id, one.nth, one.plan
      from tokenbook.subscriptions s
     cross join lateral (
       select 1 as nth, row(s.*)::tokenbook.subscriptions as plan where s.beside = '[]'
       union all
       select row_number() over (), p from tokenbook.plans_of(row(s.*)::tokenbook.subscriptions) p where s.beside <> '[]') one
     where (v_users is null or s.user_id = any (v_users))
  ), of_plans as (
    -- for each plan with a schedule: its newest slot, how many it gave, and how many begin before the next one
    select n.user_id, n.nth, n.plan, max(s.slot_start) as newest, coalesce(sum(s.count), 0) as slots,
           tokenbook.slot_number(
             (n.plan).schedule, (n.plan).period_start,
             coalesce((n.plan).next_slot_at - interval '1 microsecond', (n.plan).expires_at - interval '1 microsecond')) + 1 as begun
      from plans n
      left join slots s
        on s.user_id = n.user_id and s.plan_type = (n.plan).plan_type and s.period_start = (n.plan).period_start
       and (s.payment_id = (n.plan).payment_id or s.payment_id is null)
     where (n.plan).schedule is not null
     group by n.user_id, n.nth, n.plan
  ), of_payments as (
    select t.user_id, t.payment_id,
           coalesce(sum(t.debt_change - t.tokens) filter (where t.entry_type in ('clawback', 'restoration')), 0) as clawed_back,
           coalesce(sum((t.terms -> 'refund' ->> 'lapsed')::bigint) filter (where t.entry_type in ('clawback', 'restoration')), 0) as lapsed,
           (array_agg(t.terms -> 'refund' order by t.id desc) filter (where t.terms ? 'refund'))[1] as refund,
           (array_agg(t.terms -> 'payment' order by t.id) filter (where t.terms ? 'payment'))[1] as payment
      from ledger t where t.payment_id is not null group by t.user_id, t.payment_id
  ), refund_changes as (
    -- for payments by hand: the refunded amount that was recorded last
    select distinct on (c.user_id, c.details ->> 'payment_id') c.user_id, c.details ->> 'payment_id' as payment_id,
           (c.details ->> 'refunded_cents')::bigint as refunded_cents
      from tokenbook.changes c
     where c.change = 'refund_token_payment'
       and (v_users is null or c.user_id = any (v_users))
     order by c.user_id, c.details ->> 'payment_id', c.id desc
  ), facts as (
    -- of a payment whose user is not known yet: said when all are asked about, or the first of them
    select f.* from tokenbook.provider_payments f
     where v_users is null or f.user_id = any (v_users)
        or f.user_id is null and p_user_id is null and p_after is null
  ), parts as (
    -- the parts of each payment; the payment itself is one of them
    select f.provider, f.provider_payment_id as whole, f.provider_payment_id as part, f.created_at, f.updated_at
      from facts f where f.part_of is null
    union all
    select m.provider, m.part_of, m.provider_payment_id, m.created_at, m.updated_at
      from facts f
      join tokenbook.provider_payments m on m.provider = f.provider and m.part_of = f.provider_payment_id
     where f.part_of is null
  ), events as (
    select o.provider, o.whole, o.part, e.event_id, e.facts as fact, e.facts ->> 'kind' as kind, e.occurred_at, e.received_at,
           -- an event is received between its payment's first and last change; a minute is allowed for a clock that was set back or a standby that was behind
           (e.received_at between o.created_at - interval '1 minute' and o.updated_at + interval '1 minute') is not true as is_astray,
           (e.facts ->> 'amount_cents')::bigint as cents, (e.facts ->> 'refunded_cents')::bigint as refunded, lower(e.facts ->> 'currency') as currency,
           row_number() over (
             partition by o.provider, o.whole
             order by e.facts ->> 'kind' = 'assigned', e.occurred_at, e.event_id, e.provider_payment_id, e.digest) as nth
      from parts o
      join tokenbook.provider_events e on e.provider = o.provider and e.provider_payment_id = o.part
  ), said as (
    select e.provider, e.whole, count(*) as events, bool_or(e.kind = 'paid') as is_paid,
           (array_agg(e.currency order by e.kind <> 'paid', e.nth) filter (where e.currency is not null))[1] as currency,
           (array_agg(e.fact ->> 'customer_id' order by e.nth) filter (where e.fact ? 'customer_id'))[1] as customer_id,
           (array_agg(e.fact ->> 'price_id' order by e.nth) filter (where e.fact ? 'price_id'))[1] as price_id,
           (array_agg(e.fact ->> 'subscription_id' order by e.nth) filter (where e.fact ? 'subscription_id'))[1] as subscription_id,
           max((e.fact ->> 'cycles_completed')::integer) as cycles_completed,
           (array_agg((e.fact ->> 'from_balance_cents')::bigint order by e.nth) filter (where e.fact ? 'from_balance_cents'))[1] as from_balance_cents,
           count(distinct e.fact ->> 'dispute_id') > (tokenbook.limits() -> 'payment_disputes')::integer as are_disputes_too_many,
           bool_or(e.fact @> '{"may_be_fee": true}') as may_be_fee, bool_or(e.kind = 'assigned') as is_assigned,
           (array_agg(e.fact ->> 'parked_reason' order by e.nth) filter (where e.fact ? 'parked_reason'))[1] as reason,
           (array_agg((e.fact ->> 'period_start')::timestamptz order by e.nth) filter (where e.fact ? 'period_start'))[1] as period_start,
           array_agg((e.fact ->> 'user_id')::uuid) filter (where e.fact ? 'user_id') as users,
           array_agg(coalesce(e.fact ->> 'plan_type', 'pack ' || (e.fact ->> 'pack_type'))) filter (where e.fact ?| array['plan_type', 'pack_type']) as things,
           bool_or((e.fact ->> 'quantity')::integer > 1) as are_several,
           -- the amounts that it may have been booked at; NULL where the catalogue's price or a sum of parts decides
           case when bool_and(e.part = e.whole and (e.kind <> 'paid' or e.cents is not null)) then array_agg(e.cents) filter (where e.kind in ('paid', 'refunded') and e.cents is not null) end as amounts,
           string_agg(concat_ws(' ', e.event_id, 'at', e.received_at), ', ' order by e.nth) filter (where e.is_astray) as astray
      from events e group by e.provider, e.whole
  ), of_parts as (
    select o.provider, o.whole, o.part,
           max(e.cents) filter (where e.kind = 'refunded' and (e.currency <> s.currency) is not true) as charged
      from parts o
      left join said s on s.provider = o.provider and s.whole = o.whole
      left join events e on e.provider = o.provider and e.whole = o.whole and e.part = o.part
     group by o.provider, o.whole, o.part
  ), paid as (
    select s.*, greatest(m.cents, c.cents) as amount_cents,
           coalesce(greatest(m.cents, c.cents), f.amount_cents) as effective
      from said s
      join facts f on f.provider = s.provider and f.provider_payment_id = s.whole
      left join (
        select o.provider, o.whole, case when count(o.charged) = count(*) then sum(o.charged) end as cents
          from of_parts o group by o.provider, o.whole) c on c.provider = s.provider and c.whole = s.whole
      left join (
        select e.provider, e.whole, max(e.cents) as cents
          from events e
          join said n on n.provider = e.provider and n.whole = e.whole
         where e.kind = 'paid' and (e.currency <> n.currency) is not true
         group by e.provider, e.whole) m on m.provider = s.provider and m.whole = s.whole
  ), moves as (
    -- events that say money went back, in the payment's currency; one in another currency counts as all of it
    select e.*,
           case when e.currency <> n.currency then n.effective
                when e.kind = 'refunded' then e.refunded
                when e.kind = 'dispute' then coalesce(e.cents, n.effective)
                else e.cents end as moved
      from events e
      join paid n on n.provider = e.provider and n.whole = e.whole
     where e.kind not in ('paid', 'assigned')
       and (e.kind <> 'dispute' or not n.are_disputes_too_many)
  ), refunds as (
    -- each refund by its latest event; at one moment its end comes after its beginning
    select l.* from (
      select e.*, min(e.occurred_at) over (partition by e.provider, e.whole, e.fact ->> 'refund_id') as made_at, row_number() over (
               partition by e.provider, e.whole, e.fact ->> 'refund_id'
               order by e.occurred_at desc,
                        case e.fact ->> 'status' when 'failed' then 1 when 'canceled' then 2 when 'succeeded' then 3 else 4 end,
                        e.moved desc, e.part) as place
        from moves e where e.kind = 'refund') l
     where l.place = 1
  ), totals as (
    select distinct on (e.provider, e.whole, e.part) e.*
      from moves e where e.kind = 'refunded'
     order by e.provider, e.whole, e.part, e.occurred_at desc, e.moved desc
  ), refunded as (
    -- refunds of each part, plus credits
    select o.provider, o.whole, sum(o.cents) as cents
      from (
        select p.provider, p.whole,
               greatest(coalesce(sum(r.moved) filter (where r.fact ->> 'status' in ('succeeded', 'pending')), 0),
                        t.moved - coalesce(sum(r.moved) filter (where r.fact ->> 'status' in ('failed', 'canceled') and r.occurred_at >= t.occurred_at), 0),
                        0) as cents
          from parts p
          left join totals t on t.provider = p.provider and t.whole = p.whole and t.part = p.part
          left join refunds r on r.provider = p.provider and r.whole = p.whole and r.part = p.part
         group by p.provider, p.whole, p.part, t.moved
        union all
        select c.provider, c.whole, max(c.moved) from moves c where c.kind = 'credit' group by c.provider, c.whole, c.fact ->> 'credit_id') o
     group by o.provider, o.whole
  ), disputes as (
    select l.* from (
      select e.*, e.fact ->> 'dispute_id' as id, min(e.occurred_at) over (partition by e.provider, e.whole, e.fact ->> 'dispute_id') as began_at,
             row_number() over (
               partition by e.provider, e.whole, e.fact ->> 'dispute_id'
               order by e.occurred_at desc,
                        case e.fact ->> 'status' when 'lost' then 1 when 'won' then 2 when 'open' then 3 when 'reversed' then 4 else 5 end,
                        e.cents desc nulls first, e.currency) as place
        from moves e where e.kind = 'dispute') l
     where l.place = 1
  ), courses as (
    -- the states of each dispute (inquiries left out), from when to when, and its largest amount
    select e.provider, e.whole, e.fact ->> 'dispute_id' as id, e.fact ->> 'status' as state, e.occurred_at as since,
           lead(e.occurred_at) over of_one as until,
           min(e.occurred_at) over (partition by e.provider, e.whole, e.fact ->> 'dispute_id') as begun,
           max(e.moved) over (partition by e.provider, e.whole, e.fact ->> 'dispute_id') as most, d.moved as finally,
           max(e.occurred_at) filter (where e.fact ->> 'status' <> 'won') over (partition by e.provider, e.whole, e.fact ->> 'dispute_id') as last_against_us
      from moves e
      join disputes d on d.provider = e.provider and d.whole = e.whole and d.id = e.fact ->> 'dispute_id' and d.fact ->> 'status' <> 'reversed'
     where e.kind = 'dispute' and e.fact ->> 'status' in ('open', 'won', 'lost')
    window of_one as (
      partition by e.provider, e.whole, e.fact ->> 'dispute_id'
      order by e.occurred_at, case e.fact ->> 'status' when 'open' then 1 when 'won' then 2 else 3 end, e.cents, e.currency desc)
  ), reversals as (
    -- the dispute that each reversal belongs to
    select distinct on (r.provider, r.whole, r.id) r.provider, r.whole, r.moved, c.id, c.most
      from disputes r
      left join (
        -- a dispute has its latest state; the row of the time before it began has none
        select k.*, false as is_to_come from courses k
        union all
        (select distinct on (k.provider, k.whole, k.id) k.*, true from courses k order by k.provider, k.whole, k.id, k.since)) c
        on c.provider = r.provider and c.whole = r.whole
       and case when c.is_to_come then r.occurred_at < c.since and r.moved in (c.most, c.finally)
                when r.occurred_at >= c.since and (r.occurred_at >= c.until) is not true
                then case c.state when 'open' then true
                                  when 'lost' then r.moved in (c.most, c.finally)
                                  else r.moved in (c.most, c.finally) and c.last_against_us > r.occurred_at end end
     where r.fact ->> 'status' = 'reversed'
     order by r.provider, r.whole, r.id, (r.moved in (c.most, c.finally)) is true desc, c.begun, c.id
  ), losses as (
    -- lost disputes, each from its beginning; at PayPal less the refunds since then, which are a part of it
    select d.provider, d.whole, sum(o.moved) - coalesce((
             select sum(r.moved) from refunds r
              where d.provider = 'paypal' and r.provider = d.provider and r.whole = d.whole and r.made_at >= d.began_at
                and r.fact ->> 'status' not in ('failed', 'canceled')), 0) as cents
      from disputes d
      join disputes o on o.provider = d.provider and o.whole = d.whole and o.began_at >= d.began_at and o.fact ->> 'status' = 'lost'
     where d.fact ->> 'status' = 'lost'
     group by d.provider, d.whole, d.id, d.began_at
  ), withheld as (
    select w.provider, w.whole, sum(w.cents) as cents
      from (
        select d.provider, d.whole, d.moved as cents from disputes d where d.fact ->> 'status' = 'open'
        union all
        select l.provider, l.whole, greatest(max(l.cents), 0) from losses l group by l.provider, l.whole
        union all
        select r.provider, r.whole, greatest(sum(r.moved) - coalesce(max(r.most), 0), 0)
          from reversals r group by r.provider, r.whole, r.id) w
     group by w.provider, w.whole
  ), told as (
    select p.*, least(r.cents, p.effective) as refunded_cents,
           least(case when p.are_disputes_too_many then p.effective else coalesce(w.cents, 0) end,
                 p.effective - least(r.cents, p.effective)) as disputed_cents
      from paid p
      left join refunded r on r.provider = p.provider and r.whole = p.whole
      left join withheld w on w.provider = p.provider and w.whole = p.whole
  ), of_periods as (
    -- payments that may be setup fees and not a period's price: how many are booked beside each, and the cycles counted
    select f.user_id, f.provider, f.provider_payment_id as id, y.id as payment_id,
           count(o.booked_at) as beside, count(o.booked_at) filter (where o.booked_at < y.created_at) as beside_before,
           greatest(f.cycles_completed, max(o.cycles_completed), 0) as cycles,
           -- another payment waits, or an admin has decided
           t.is_assigned or exists (
             select 1 from tokenbook.provider_payments w
              where w.provider = f.provider and w.subscription_id = f.subscription_id
                and w.period_start > f.period_start - 3 * n.length and w.period_start < f.period_start + 3 * n.length
                and (w.parked_reason is not null or exists (
                  select 1 from tokenbook.provider_events e
                   where e.provider = w.provider and e.provider_payment_id = w.provider_payment_id and e.facts ->> 'kind' = 'assigned'))) as is_decided,
           (select coalesce(w.cycles_completed, -1) from tokenbook.provider_payments w
             where w.provider = f.provider and w.subscription_id = f.subscription_id and w.is_paid
               and w.period_start < least(f.period_start, min(o.period_start))
             order by w.period_start desc limit 1) as cycles_before
      from facts f
      join told t on t.provider = f.provider and t.whole = f.provider_payment_id and t.may_be_fee
      join (select l.plan_type, coalesce(tokenbook.period_end(row(l.*)::public.token_plans, 'epoch') - 'epoch', interval '28 days') as length
              from public.token_plans l) n on n.plan_type = f.plan_type
      left join payments y on y.user_id = f.user_id and y.provider = f.provider and y.provider_payment_id = f.provider_payment_id
      join lateral (
        select o.period_start, o.cycles_completed, z.created_at as booked_at
          from tokenbook.provider_payments o
          left join public.token_payments z
            on (p_user_id is null or z.user_id = p_user_id) and z.user_id = o.user_id and z.provider = o.provider and z.provider_payment_id = o.provider_payment_id
         where o.provider = f.provider and o.subscription_id = f.subscription_id and o.plan_type = f.plan_type and o.is_paid
           and o.provider_payment_id <> f.provider_payment_id
           and o.period_start > f.period_start - n.length / 2 and o.period_start < f.period_start + n.length / 2) o on true
     group by f.user_id, f.provider, f.provider_payment_id, f.subscription_id, f.period_start, f.cycles_completed, t.is_assigned, y.id, y.created_at, n.length
  ), differing as (
    select f.provider, f.provider_payment_id as whole, nullif(jsonb_strip_nulls(jsonb_build_object(
             'user_id', jsonb_agg(distinct (e.fact ->> 'user_id')::uuid) filter (where (e.fact ->> 'user_id')::uuid <> f.user_id),
             'plan_type', jsonb_agg(distinct e.fact ->> 'plan_type') filter (where e.fact ->> 'plan_type' <> f.plan_type or f.pack_type is not null and e.fact ? 'plan_type'),
             'pack_type', jsonb_agg(distinct e.fact ->> 'pack_type') filter (where e.fact ->> 'pack_type' <> f.pack_type or f.plan_type is not null and e.fact ? 'pack_type'),
             'quantity', jsonb_agg(distinct (e.fact ->> 'quantity')::integer) filter (where (e.fact ->> 'quantity')::integer <> f.quantity),
             'currency', jsonb_agg(distinct e.currency) filter (where e.currency <> f.currency),
             'disputes', case when count(distinct e.fact ->> 'dispute_id') > (tokenbook.limits() -> 'payment_disputes')::integer
                              then jsonb_build_array('more than ' || (tokenbook.limits() ->> 'payment_disputes')) end)), '{}') as others
      from facts f
      join events e on e.provider = f.provider and e.whole = f.provider_payment_id
     group by f.provider, f.provider_payment_id
  ), alerts as (
    select t.*, row_number() over (partition by t.user_id order by t.id) as nth
      from public.token_alerts t
     where (v_users is null or t.user_id = any (v_users))
  ), holds as (
    select h.* from public.token_holds h
     where (v_users is null or h.user_id = any (v_users))
  ), of_holds as (
    select h.user_id, sum(h.tokens) as tokens, min(h.expires_at) as due
      from holds h where h.status = 'open' group by h.user_id
  ), hold_moves as (
    -- tokens that moved between a hold and its child: minus for one, plus for the other
    select t.user_id, t.id, t.created_at, t.action_type, m.hold_id, m.sign, part.grant_id, m.sign * part.tokens as tokens
      from ledger t
     cross join lateral (values (t.terms #>> '{move,from}', -1), (t.terms #>> '{move,to}', 1)) as m (hold_id, sign)
     cross join lateral rows from (
       jsonb_array_elements_text(case jsonb_typeof(t.terms #> '{move,grant_ids}') when 'array' then t.terms #> '{move,grant_ids}' end),
       jsonb_array_elements(case jsonb_typeof(t.terms #> '{move,grant_tokens}') when 'array' then t.terms #> '{move,grant_tokens}' end)
     ) as given (grant_id, tokens)
     cross join lateral (
       select given.grant_id, case jsonb_typeof(given.tokens) when 'number' then given.tokens::numeric end as tokens) part
     where t.action_type in ('hold_split', 'hold_return') and m.hold_id is not null
  ), moved_holds as (
    select m.user_id, m.hold_id, sum(m.tokens) as tokens, -sum(m.tokens) as passed,
           sum(m.tokens) filter (where m.sign = 1) as received
      from hold_moves m group by m.user_id, m.hold_id
  ), split_holds as (
    -- holds that have a parent or children: a child has what it was given, a parent what it did not pass on
    select h.user_id, h.id as hold_id, coalesce(sum(part.tokens), 0) as tokens,
           coalesce(array_agg(part.grant_id order by part.place) filter (where part.tokens <> 0), '{}')::text as grant_ids,
           coalesce(array_agg(part.tokens order by part.place) filter (where part.tokens <> 0), '{}')::text as grant_tokens
      from (select h.* from holds h
             where h.parent_id is not null
                or exists (select 1 from moved_holds m where m.user_id = h.user_id and m.hold_id = h.id::text)) h
      left join holds p on p.user_id = h.user_id and p.id = h.parent_id
      left join ledger o on o.user_id = h.user_id and o.id = coalesce(p.transaction_id, h.transaction_id)
      left join lateral (
        select one.grant_id, sum(one.tokens) as tokens, array_position(o.grant_ids::text[], one.grant_id) as place
          from (
            select own.grant_id::text, own.tokens from unnest(o.grant_ids, o.grant_tokens) as own (grant_id, tokens) where h.parent_id is null
            union all
            select m.grant_id, m.tokens from hold_moves m
             where m.user_id = h.user_id and m.hold_id = h.id::text and (h.parent_id is null or m.sign = 1)) one
         group by one.grant_id) part on true
     group by h.user_id, h.id
  ), of_children as (
    select h.user_id, h.parent_id, sum(h.tokens_captured) as captured
      from holds h where h.parent_id is not null group by h.user_id, h.parent_id
  ), of_hold_entries as (
    select t.user_id, t.hold_id, sum(t.reserved_change) as reserved,
           -sum(t.tokens) filter (where t.entry_type = 'deduction' and t.reserved_change < 0) as captured,
           min(t.id) filter (where t.entry_type = 'usage' and t.action_type not in ('hold_split', 'hold_return')
             or t.entry_type = 'deduction' and t.reserved_change < 0) as capture_id,
           min(t.id) filter (where t.entry_type = 'deduction' and t.reserved_change = 0) as overage_id,
           max(t.created_at) filter (where t.reserved_change < 0 or t.action_type = 'hold_return') as settled_at,
           max(t.reason) filter (where t.entry_type = 'release' or t.action_type = 'hold_return') as release_reason
      from ledger t where t.hold_id is not null group by t.user_id, t.hold_id
  ), charged as (
    select t.user_id, t.usage_id, abs(sum(t.tokens - t.debt_change)) as tokens, min(t.id) as transaction_id
      from ledger t where t.usage_id is not null and t.entry_type <> 'refund' group by t.user_id, t.usage_id
  ), in_archives as (
    -- what no row of token_usage is of, in an hour of which uses are archived
    select a.user_id, a.starts_at, a.action_type, a.member_id, c.usage_id, c.tokens
      from charged c
      join ledger t on t.user_id = c.user_id and t.id = c.transaction_id
      join archived a on a.user_id = t.user_id and a.starts_at = date_trunc('hour', t.created_at, 'UTC') and a.action_type = t.action_type
       and a.member_id = coalesce(t.member_id, '00000000-0000-0000-0000-000000000000')
      left join usages u on u.user_id = c.user_id and u.id = c.usage_id
     where u.id is null
  ), of_grants as (
    select g.user_id, sum(g.tokens_remaining) as tokens, min(g.expires_at) filter (where g.is_open) as due
      from grants g group by g.user_id
  ), of_ledger as (
    select t.user_id, sum(t.tokens) as tokens, sum(t.debt_change) as debt, sum(t.reserved_change) as reserved, max(t.id) as last_id,
           max(t.created_at) filter (where t.entry_type not in ('opening_balance', 'expiry')) as spent_at,
           -- a rollover into a grant with none out of a grant gives back what had expired
           -sum(t.tokens) filter (where t.entry_type in ('expiry', 'rollover')) as expired,
           coalesce(sum((t.metadata ->> 'total_cost')::numeric) filter (where t.entry_type = 'opening_balance'), 0) as opening_cost,
           coalesce(sum((t.metadata ->> 'tokens_used')::numeric) filter (where t.entry_type = 'opening_balance'), 0)
             + coalesce(sum(t.debt_change - t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0) as used
      from ledger t group by t.user_id
  ), spending as (
    -- what was spent or came back, with the moment it was taken: it counts in the cap's window of that moment
    select t.user_id, t.member_id, t.reserved_change - t.tokens + t.debt_change as tokens, t.debt_change - t.tokens as used,
           case when o.id is null then t.created_at when o.reserved_change < 0 then coalesce(p.created_at, h.created_at) else o.created_at end as at
      from ledger t
      left join ledger o on o.user_id = t.user_id and o.id = t.original_id and t.entry_type in ('release', 'refund')
      left join holds h on h.user_id = o.user_id and h.id = o.hold_id
      left join holds p on p.user_id = h.user_id and p.id = h.parent_id
     where t.entry_type in ('deduction', 'hold', 'release', 'refund') and t.action_type <> 'admin_deduct'
  ), members as (
    select m.* from public.token_team_members m
     where (v_users is null or m.user_id = any (v_users))
  ), counters as (
    select a.user_id, null::uuid as member_id, a.spent_at, null::bigint as tokens_used, a.spent_day, a.spent_week, a.spent_month
      from accounts a
    union all
    select m.user_id, m.member_id, m.spent_at, m.tokens_used, m.spent_day, m.spent_week, m.spent_month from members m
  ), spent as (
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id
     where c.member_id is null
    union all
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id and s.member_id = c.member_id
     where c.member_id is not null
  ), counted as (
    select s.user_id, s.member_id, s.tokens_used, s.spent_at, s.spent_day, s.spent_week, s.spent_month,
           coalesce(sum(s.used), 0) as used,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('day', s.spent_at, 'UTC')), 0) as in_day,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('week', s.spent_at, 'UTC')), 0) as in_week,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('month', s.spent_at, 'UTC')), 0) as in_month
      from spent s
     group by s.user_id, s.member_id, s.tokens_used, s.spent_at, s.spent_day, s.spent_week, s.spent_month
  )
  -- each grant by itself
  select 'I1 no overspend', g.user_id, g.id, null::bigint,
         'remaining between 0 and ' || g.tokens_granted, g.tokens_remaining::text
    from grants g where g.tokens_remaining not between 0 and g.tokens_granted
  union all
  select 'I1 an open grant has tokens', g.user_id, g.id, null,
         'open = ' || (g.tokens_remaining > 0), 'open = ' || g.is_open
    from grants g where g.is_open <> (g.tokens_remaining > 0)
  union all
  -- account and grants
  select 'I2 account = its grants', coalesce(a.user_id, g.user_id), null, null,
         coalesce(g.tokens, 0)::text, coalesce(a.tokens_remaining::text, 'no account')
    from accounts a full join of_grants g on g.user_id = a.user_id
   where coalesce(g.tokens, 0) is distinct from a.tokens_remaining
  union all
  -- account and ledger
  select 'I3 ledger = account', coalesce(a.user_id, t.user_id), null, null,
         coalesce(t.tokens, 0)::text, coalesce((a.tokens_remaining + a.tokens_reserved)::text, 'no account')
    from accounts a full join of_ledger t on t.user_id = a.user_id
   where coalesce(t.tokens, 0) is distinct from a.tokens_remaining + a.tokens_reserved
  union all
  select 'I3 balance after each transaction', t.user_id, null, t.id, t.running::text, t.balance_after::text
    from ledger t where t.balance_after <> t.running
  union all
  select 'I3 transactions are numbered without gaps', t.user_id, null, t.id, t.nth::text, t.id::text
    from ledger t where t.id <> t.nth
  union all
  select 'I3 the account knows its last transaction', a.user_id, null, null,
         coalesce(t.last_id, 0)::text, a.last_transaction_id::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.last_transaction_id <> coalesce(t.last_id, 0)
  union all
  select 'I3 tokens used', a.user_id, null, null, coalesce(t.used, 0)::text, a.tokens_used::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_used <> coalesce(t.used, 0)
  union all
  select 'I3 tokens expired', a.user_id, null, null, coalesce(t.expired, 0)::text, a.tokens_expired::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_expired <> coalesce(t.expired, 0)
  union all
  select 'I3 debt', a.user_id, null, null, coalesce(t.debt, 0)::text, a.tokens_owed::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_owed <> coalesce(t.debt, 0)
  union all
  select 'I3 total cost', a.user_id, null, null,
         (coalesce(t.opening_cost, 0) + coalesce(u.cost, 0))::text, a.total_cost::text
    from accounts a
    left join of_ledger t on t.user_id = a.user_id
    left join of_usage u on u.user_id = a.user_id
   where a.total_cost <> coalesce(t.opening_cost, 0) + coalesce(u.cost, 0)
  union all
  select 'I3 a rollover makes no tokens', t.user_id, t.grant_ids[1], t.id,
         case when t.tokens < 0 then 'carried on as ' || -t.tokens
              else 'out of ' || coalesce(o.entry_type || ' ' || o.tokens, 'nothing') end,
         coalesce(o.tokens, 0)::text
    from ledger t
    left join ledger o on o.user_id = t.user_id
     and case when t.tokens < 0 then o.original_id = t.id and o.entry_type = 'rollover' else o.id = t.original_id end
   where t.entry_type = 'rollover'
     and case o.entry_type when 'rollover' then o.tokens <> -t.tokens when 'expiry' then o.tokens > -t.tokens else true end
  union all
  select 'I3 spent in this day, week and month', c.user_id, null, null,
         concat_ws(', ', 'member ' || c.member_id, c.in_day, c.in_week, c.in_month),
         concat_ws(', ', 'member ' || c.member_id, c.spent_day, c.spent_week, c.spent_month)
    from counted c
   where (c.spent_day, c.spent_week, c.spent_month) is distinct from (c.in_day, c.in_week, c.in_month)
  union all
  select 'I3 when something was last spent', c.user_id, null, null,
         concat_ws(', ', 'member ' || c.member_id, coalesce(t.spent_at::text, 'never')),
         concat_ws(', ', 'member ' || c.member_id, coalesce(c.spent_at::text, 'never'))
    from counted c
    left join (
      select l.user_id, null::uuid as member_id, l.spent_at from of_ledger l
      union all
      select l.user_id, l.member_id, max(l.created_at) from ledger l where l.member_id is not null group by l.user_id, l.member_id
    ) t on t.user_id = c.user_id and t.member_id is not distinct from c.member_id
   where c.spent_at is distinct from t.spent_at
  union all
  select 'I3 what a member used', c.user_id, null, null, 'member ' || c.member_id || ', ' || c.used, c.tokens_used::text
    from counted c
   where c.tokens_used <> c.used
  union all
  select 'I3 the account knows whether it has caps', a.user_id, null, null, c.has_caps::text, a.has_caps::text
    from accounts a
   cross join lateral (
     select exists (select 1 from public.token_spend_caps s where (p_user_id is null or s.user_id = p_user_id) and s.user_id = a.user_id) as has_caps) c
   where a.has_caps <> c.has_caps
  union all
  select 'I3 an overdraft is what was said of it', a.user_id, null, null,
         coalesce(c.overdraft, 'the plan''s'), coalesce(a.overdraft_limit::text, 'the plan''s')
    from accounts a
    left join (
      select distinct on (l.user_id) l.user_id, l.details ->> 'overdraft_limit' as overdraft
        from tokenbook.changes l
       where l.change = 'set_token_overdraft'
         and (v_users is null or l.user_id = any (v_users))
       order by l.user_id, l.id desc) c on c.user_id = a.user_id
   where a.overdraft_limit::text is distinct from c.overdraft
  union all
  select 'I3 a member has one payer', m.user_id, null, null, m.user_id::text, coalesce(a.payer_id::text, 'none')
    from members m
    left join public.token_accounts a on a.user_id = m.member_id
   where (m.until is null) <> coalesce(a.payer_id = m.user_id, false)
  union all
  select 'I3 a member has one payer', a.user_id, null, null, 'in the team of ' || a.payer_id, 'none'
    from accounts a
   where a.payer_id is not null
     and not exists (
       select 1 from public.token_team_members m
        where m.user_id = a.payer_id and m.member_id = a.user_id and m.until is null)
  union all
  select 'I3 who was ever in a team', a.user_id, null, null, (m.member_id is not null)::text, a.was_member::text
    from accounts a
    left join (
      select distinct t.member_id from public.token_team_members t
       where (v_users is null or t.member_id = any (v_users))) m on m.member_id = a.user_id
   where a.was_member <> (m.member_id is not null)
  union all
  select 'I4 who spent is of the team', t.user_id, null, t.id, 'a member', t.member_id::text
    from ledger t
    left join members m on m.user_id = t.user_id and m.member_id = t.member_id
   where t.member_id is not null
     -- a hold of theirs may be settled after they left
     and (m.member_id is null or (t.created_at >= m.until and t.hold_id is null and t.entry_type = 'deduction'))
  union all
  select 'I3 alerts are numbered without gaps', t.user_id, null, null, t.nth::text, t.id::text
    from alerts t
   where t.id <> t.nth and t.user_id <> '00000000-0000-0000-0000-000000000000' -- the project's own may have gaps
  union all
  select 'I3 the account knows its last alert', coalesce(a.user_id, t.user_id), null, null,
         coalesce(t.last_id, 0)::text, coalesce(a.last_alert_id::text, 'no account')
    from accounts a
    full join (select t.user_id, max(t.id) as last_id from alerts t
                where t.user_id <> '00000000-0000-0000-0000-000000000000' -- the project has none
                group by t.user_id) t on t.user_id = a.user_id
   where a.last_alert_id is distinct from coalesce(t.last_id, 0)
  union all
  select 'I3 an alert is of what is there', t.user_id, t.grant_id, null,
         coalesce('grant ' || t.grant_id, 'request ' || t.request_id), 'none'
    from alerts t
   where not exists (select 1 from grants g where g.user_id = t.user_id and g.id = t.grant_id)
     and t.grant_id is not null
      or not exists (select 1 from public.token_top_up_requests r where (p_user_id is null or r.user_id = p_user_id) and r.user_id = t.user_id and r.id = t.request_id)
     and t.request_id is not null
  union all
  select 'I3 a top-up asks for what its alert says', r.user_id, null, null,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from public.token_top_up_requests r
    left join alerts t on t.user_id = r.user_id and t.request_id = r.id and t.kind = 'top_up_requested'
   cross join lateral (values
     ('id', t.request_id::text, r.id::text),
     ('tokens', t.payload ->> 'tokens', r.tokens::text),
     ('plan_type', t.payload ->> 'top_up_plan_type', r.plan_type),
     ('pack_type', t.payload ->> 'top_up_pack_type', r.pack_type),
     ('quantity', t.payload ->> 'top_up_quantity', r.quantity::text),
     ('created_at', t.created_at::text, r.created_at::text)) as differs (field, expected, found)
   where (v_users is null or r.user_id = any (v_users))
     and differs.expected is distinct from differs.found
  union all
  select 'I3 old transactions are numbered down from 0', t.user_id, null, min(t.id), (1 - count(*)) || ' to 0', min(t.id) || ' to ' || max(t.id)
    from public.token_legacy_transactions t
   where (v_users is null or t.user_id = any (v_users))
   group by t.user_id
  having max(t.id) <> 0 or min(t.id) <> 1 - count(*)
  union all
  -- holds
  select 'I3 reserved = open holds', coalesce(a.user_id, h.user_id), null, null,
         coalesce(h.tokens, 0)::text, coalesce(a.tokens_reserved::text, 'no account')
    from accounts a full join of_holds h on h.user_id = a.user_id
   where coalesce(h.tokens, 0) is distinct from a.tokens_reserved
  union all
  select 'I3 reserved = its ledger', a.user_id, null, null, coalesce(t.reserved, 0)::text, a.tokens_reserved::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_reserved <> coalesce(t.reserved, 0)
  union all
  select 'I4 a hold is what its history says', h.user_id, null, h.transaction_id,
         format('%s reserved, %s captured', case when h.status = 'open' then h.tokens else 0 end, coalesce(h.tokens_captured, 0)),
         format('%s reserved, %s captured', coalesce(t.reserved, 0) + coalesce(m.tokens, 0), coalesce(t.captured, 0))
    from holds h
    left join of_hold_entries t on t.user_id = h.user_id and t.hold_id = h.id
    left join moved_holds m on m.user_id = h.user_id and m.hold_id = h.id::text
   where coalesce(t.reserved, 0) + coalesce(m.tokens, 0) <> case when h.status = 'open' then h.tokens else 0 end
      or coalesce(t.captured, 0) <> coalesce(h.tokens_captured, 0)
      or h.tokens <> (select coalesce(sum(part), 0) from unnest(h.grant_tokens) part)
  union all
  select 'I7 the account is due no later than its holds', a.user_id, null, null,
         'at ' || h.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a join of_holds h on h.user_id = a.user_id
   where h.due < a.due_at
  union all
  select 'I7 the account is due no later than its next alert', a.user_id, null, null,
         'at ' || a.next_alert_at || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
   where a.next_alert_at < a.due_at
  union all
  -- usage and its transaction
  select 'I4 usage = its transaction', u.user_id, null, u.transaction_id,
         (case when u.success then u.tokens_used - u.tokens_uncovered else 0 end)::text,
         coalesce(t.tokens::text, 'no transaction')
    from usages u
    left join charged t on t.user_id = u.user_id and t.usage_id = u.id
   where t.tokens is distinct from case when u.success then u.tokens_used - u.tokens_uncovered else 0 end
  union all
  select 'I4 a transaction for a usage has it', t.user_id, null, t.id, 'usage ' || t.usage_id, 'none'
    from ledger t
    left join usages u on u.user_id = t.user_id and u.id = t.usage_id
    left join in_archives c on c.user_id = t.user_id and c.usage_id = t.usage_id
   where t.usage_id is not null and c.usage_id is null
     -- what goes beyond a hold is a second entry for one usage
     and (u.id is null or (t.id <> u.transaction_id and t.entry_type <> 'refund' and t.hold_id is null))
  union all
  select 'I4 archived usage = its transactions', a.user_id, null, null,
         format('%s: %s of %s tokens', a.action_type, count(c.usage_id), coalesce(sum(c.tokens), 0)),
         format('%s: %s of %s tokens', a.action_type, a.uses, a.tokens)
    from archived a
    left join in_archives c on c.user_id = a.user_id and c.starts_at = a.starts_at and c.action_type = a.action_type and c.member_id = a.member_id
   group by a.user_id, a.starts_at, a.action_type, a.member_id, a.uses, a.tokens
  having (count(c.usage_id), coalesce(sum(c.tokens), 0)) is distinct from (a.uses, a.tokens) -- @archived-uses-are-booked
  union all
  -- allocations
  select 'I4 allocations = transaction', t.user_id, null, t.id, greatest(abs(t.tokens), abs(t.reserved_change))::text,
         (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)::text
    from ledger t
   where greatest(abs(t.tokens), abs(t.reserved_change))
         <> (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)
  union all
  select 'I4 a grant is what its history left', g.user_id, g.id, null,
         coalesce(h.tokens, 0)::text, g.tokens_remaining::text
    from grants g
    left join (
      select a.user_id, a.grant_id, sum(a.signed) as tokens from allocated a group by a.user_id, a.grant_id) h
      on h.user_id = g.user_id and h.grant_id = g.id
   where g.tokens_remaining <> coalesce(h.tokens, 0)
  union all
  select 'I4 an allocation names a grant', a.user_id, a.grant_id, a.transaction_id, 'a grant of the user', 'none'
    from allocated a
    left join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where g.id is null
  union all
  -- time
  select 'I7 nothing is spent at or after its expiry', a.user_id, a.grant_id, a.transaction_id,
         'before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type in ('deduction', 'hold') and a.signed < 0 -- what a hold set aside in time is paid later
     and a.created_at >= g.expires_at
  union all
  select 'I8 a grant pays only for what it may', a.user_id, a.grant_id, a.transaction_id, g.pays_for::text,
         concat_ws(' ', t.action_type, t.terms ->> 'model')
    from grants g
    join allocated a on a.user_id = g.user_id and a.grant_id = g.id
    join ledger t on t.user_id = a.user_id and t.id = a.transaction_id
   where g.pays_for is not null
     and t.entry_type in ('deduction', 'hold') and t.action_type <> 'admin_deduct' and a.signed < 0
     and not tokenbook.pays_for(g.pays_for, t.action_type, t.terms ->> 'model')
  union all
  select 'I8 the account knows until when its grants are restricted', a.user_id, null, null,
         'not before ' || g.until, coalesce(a.restricted_until::text, 'none is')
    from accounts a
    join (
      select r.user_id, max(coalesce(r.expires_at, 'infinity')) as until
        from grants r where r.pays_for is not null and r.is_open
       group by r.user_id) g on g.user_id = a.user_id
   where g.until > coalesce(a.restricted_until, '-infinity')
  union all
  select 'I7 an expiry is booked when it is due', a.user_id, a.grant_id, a.transaction_id,
         'not before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type = 'expiry' and (a.created_at >= g.expires_at) is not true
  union all
  select 'I7 the account says whether its books are here', a.user_id, null, null, a.state,
         concat_ws(', ', 'due ' || coalesce(a.next_due_at::text, 'never'), 'alerts of ' || coalesce(a.alerts_version::text, 'nothing'))
    from accounts a
   where (a.state in ('active', 'frozen')) <> (a.alerts_version is not null)
      or a.state not in ('active', 'frozen') and a.next_due_at is not null -- there it is due
  union all
  select 'I7 the account is due no later than its grants', a.user_id, null, null,
         'at ' || g.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join of_grants g on g.user_id = a.user_id
   where g.due < a.due_at
  union all
  select 'I7 the account is due no later than its next grant to come', a.user_id, null, null,
         'at ' || u.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join (select g.user_id, min(g.starts_at) as due from tokenbook.upcoming_grants g where (p_user_id is null or g.user_id = p_user_id) group by g.user_id) u on u.user_id = a.user_id
   where u.due < a.due_at
  union all
  select 'I7 the account is due no later than its next slot', a.user_id, null, null,
         'at ' || s.next_slot_at || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join plans n on n.user_id = a.user_id
   cross join lateral (select (n.plan).*) s
   where a.state = 'active' and s.next_slot_at < a.due_at and tokenbook.is_user(a.user_id)
     -- slots that were paid for are given whatever plan is in force; other slots only of the plan in force
     and case when s.payment_id is not null then (s.next_slot_at < least(s.expires_at, s.taken_back_at)) is not false
              else n.nth = 1 and (s.next_slot_at < least(s.expires_at, s.cancel_at, s.paused_at, s.taken_back_at, s.ended_at)) is not false end
  union all
  select 'I7 the account is due no later than the end of its plan', a.user_id, null, null,
         'at ' || s.ends_at || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join plans n on n.user_id = a.user_id and n.nth = 1
   cross join lateral (
     select least((n.plan).cancel_at, (n.plan).expires_at + (n.plan).grace_days * interval '24 hours') as ends_at) s
   where a.state = 'active' and (n.plan).ended_at is null and s.ends_at < a.due_at
     and tokenbook.is_user(a.user_id)
  union all
  -- the project's: said once, when all are asked about
  select 'I8 the settings say the burn order that was chosen', null, null, null, o.chosen,
         case when s.is_expiring_first then 'expiring_first' else 'fifo' end
    from tokenbook.project_settings s
   cross join lateral (
     select coalesce((select o.burn_order from tokenbook.burn_orders o order by o.since desc limit 1), 'fifo') as chosen) o
   where p_user_id is null and p_after is null and s.is_expiring_first <> (o.chosen = 'expiring_first')
  union all
  select 'I3 the settings know whether there are common caps', null, null, null, c.has_caps::text, s.has_common_caps::text
    from tokenbook.project_settings s
   cross join lateral (select exists (select 1 from public.token_default_spend_caps) as has_caps) c
   where p_user_id is null and p_after is null and s.has_common_caps <> c.has_caps  union all
  -- plan
  select 'I9 the balance is never above the plan limit', a.user_id, null, null,
         s.tokens_limit || ' or less', a.tokens_remaining::text
    from accounts a
    join tokenbook.subscriptions s on (p_user_id is null or s.user_id = p_user_id) and s.user_id = a.user_id
   where a.tokens_remaining > s.tokens_limit
  union all
  -- no entry has the plan limit of a subscription from before the books
  select 'I9 the plan limit is what the ledger made it', s.user_id, null, null, l.tokens::text, s.tokens_limit::text
    from subscriptions s
    join plan_limits l on l.user_id = s.user_id
   where s.tokens_limit <> l.tokens
  union all
  select 'I9 a subscription is what its newest entry says', coalesce(s.user_id, newest.user_id), null, newest.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from standings newest
    left join subscriptions s on s.user_id = newest.user_id
    left join downgrades d on d.user_id = s.user_id
   cross join lateral (select (newest.kept).*) k
   cross join lateral (values
     ('user', newest.user_id::text, s.user_id::text),
     ('id', k.id::text, s.id::text),
     ('created_at', k.created_at::text, s.created_at::text),
     ('plan_type', k.plan_type, s.plan_type),
     ('next_plan_type', coalesce(d.plan_type, k.next_plan_type), s.next_plan_type),
     ('period_start', k.period_start::text, s.period_start::text),
     ('expires_at', k.expires_at::text, s.expires_at::text),
     ('grace_days', k.grace_days::text, s.grace_days::text),
     ('payment_method', k.payment_method, s.payment_method),
     ('payment_id', k.payment_id, s.payment_id),
     ('billing_cycle', k.billing_cycle, s.billing_cycle),
     ('auto_renew', k.auto_renew::text, s.auto_renew::text),
     ('articles_limit', k.articles_limit::text, s.articles_limit::text),
     ('features', jsonb_strip_nulls(k.features)::text, jsonb_strip_nulls(s.features)::text),
     ('schedule', k.schedule::text, s.schedule::text),
     ('cancel_at', k.cancel_at::text, s.cancel_at::text),
     ('paused_at', k.paused_at::text, s.paused_at::text),
     ('taken_back_at', k.taken_back_at::text, s.taken_back_at::text),
     ('ended_at', k.ended_at::text, s.ended_at::text),
     -- and no sooner than what it says of itself
     ('ended_at', case when s.ended_at is not null
                       then least(s.taken_back_at, s.cancel_at, s.expires_at + s.grace_days * interval '24 hours') end::text, s.ended_at::text),
     ('beside', case when k.beside <> '[]' then jsonb_strip_nulls((tokenbook.without_slots(newest.kept)).beside) else k.beside end::text,
                case when s.beside <> '[]' then jsonb_strip_nulls((tokenbook.without_slots(row(s.*)::tokenbook.subscriptions)).beside) else s.beside end::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  -- the next slot of each plan: the start of a slot, not before the one that the entry names, not after the first one
  -- still to come, and after every slot that was given
  select 'I9 a subscription is what its newest entry says', n.user_id, null, newest.transaction_id,
         'next_slot_at ' || coalesce(says.expected::text, 'none'), 'next_slot_at ' || coalesce((n.plan).next_slot_at::text, 'none')
    from plans n
    join standings newest on newest.user_id = n.user_id
    left join of_plans o on o.user_id = n.user_id and o.nth = n.nth
    left join lateral (
      select row_number() over () as nth, p as plan
        from tokenbook.plans_of(newest.kept) p
       where num_nonnulls((n.plan).schedule, (n.plan).next_slot_at) > 0) k on k.nth = n.nth
   cross join lateral (
     select tokenbook.next_slot_at(n.plan, greatest(clock_timestamp(), (n.plan).period_start)) as to_come
      where num_nonnulls((n.plan).schedule, (n.plan).next_slot_at) > 0) at
   cross join lateral (
     select case
        when (n.plan).schedule is null then null
        when (n.plan).next_slot_at is null and at.to_come is null then null
        when (n.plan).next_slot_at = tokenbook.slot_start(
               (n.plan).schedule, (n.plan).period_start,
               tokenbook.slot_number((n.plan).schedule, (n.plan).period_start, (n.plan).next_slot_at))
          and ((n.plan).next_slot_at < (k.plan).next_slot_at) is not true
          and ((n.plan).next_slot_at > at.to_come) is not true
          and ((n.plan).next_slot_at <= o.newest) is not true
          and (n.plan).next_slot_at < coalesce((n.plan).expires_at, 'infinity') then (n.plan).next_slot_at
        else coalesce((k.plan).next_slot_at, at.to_come, (n.plan).period_start) end as expected) says
   where says.expected is distinct from (n.plan).next_slot_at
  union all
  select 'I9 a slot is what its schedule gives, once', s.user_id, (s.grant_id #>> '{}')::uuid, s.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from slots s
   cross join lateral (
     select tokenbook.slot_number(s.schedule, s.period_start, s.slot_start) as number,
            (s.schedule ->> 'tokens')::bigint as tokens, (s.schedule ->> 'refill_to')::bigint as refill_to,
            (s.schedule ->> 'lifetime_days')::integer * interval '24 hours' as lifetime) as says
   cross join lateral (values
     ('schedule', coalesce(s.schedule_before, s.schedule)::text, s.schedule::text),
     ('start', tokenbook.slot_start(s.schedule, s.period_start, greatest(says.number, 0))::text, s.slot_start::text),
     ('begun', 'before ' || least(s.until, s.created_at + interval '1 microsecond'),
               case when s.slot_start < least(s.until, s.created_at + interval '1 microsecond')
                    then 'before ' || least(s.until, s.created_at + interval '1 microsecond') else s.slot_start::text end),
     ('count', case when says.refill_to is not null or says.lifetime is not null then 1 else greatest(s.count, 1) end::text, s.count::text),
     ('first', tokenbook.slot_start(s.schedule, s.period_start, greatest(says.number - s.count + 1, 0))::text, s.first_start::text),
     ('once', 'after ' || s.start_before, case when s.first_start > s.start_before then 'after ' || s.start_before else s.first_start::text end),
     ('tokens', case when says.refill_to is null then says.tokens * s.count else least(says.tokens, says.refill_to - s.had) end::text, s.tokens::text),
     ('expires_at', (s.slot_start + says.lifetime)::text, s.expires_at::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
     -- the first slot of a period has none before it
     and (differs.field <> 'once' or s.start_before is not null)
  union all
  select 'I9 storage is what its plan gave', coalesce(t.user_id, q.user_id), null, t.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from (
      select l.user_id, l.id as transaction_id, b.id as storage_id, b.quota_gb, b.granted_at, b.subscription_id, b.metadata, b.created_at
        from ledger l
       cross join lateral jsonb_populate_record(null::public.token_storage_quotas, l.terms -> 'storage') b
       where jsonb_typeof(l.terms -> 'storage') = 'object') t
    full join (
      select q.* from public.token_storage_quotas q
       where (v_users is null or q.user_id = any (v_users))) q on q.user_id = t.user_id and q.id = t.storage_id
   cross join lateral (values
     ('id', t.storage_id::text, q.id::text),
     ('quota_gb', t.quota_gb::text, q.quota_gb::text),
     ('granted_at', t.granted_at::text, q.granted_at::text),
     ('subscription_id', t.subscription_id::text, q.subscription_id::text),
     ('metadata', t.metadata::text, q.metadata::text),
     ('created_at', t.created_at::text, q.created_at::text)
   ) as differs (field, expected, found)
   -- no entry has a plan from before the books, or one that was given beside another
   where (t.storage_id is not null or q.metadata ? 'plan') and differs.expected is distinct from differs.found
  union all
  -- a paid period gives exactly what was paid for: every slot whose tokens never run out, at most every slot of others
  select 'I12 a paid period gives its slots', n.user_id, null, null,
         concat_ws(' ', 'payment', (n.plan).payment_id, 'of', (n.plan).plan_type || ':', n.begun, 'slots before the next'),
         (n.slots + 1)::text
    from of_plans n
    left join payments p on p.user_id = n.user_id and p.id::text = (n.plan).payment_id
   where (n.plan).payment_id is not null and p.id is null
     and (n.slots + 1 > n.begun
       or n.slots + 1 < n.begun and not (n.plan).schedule ?| array['refill_to', 'lifetime_days'])
  union all
  select 'I12 a paid period gives its slots', p.user_id, null, null,
         concat_ws(' ', 'payment', p.id, 'of', p.to_plan || ':', how.tokens, 'tokens by now'), p.tokens::text
    from payments p
    left join of_plans n on n.user_id = p.user_id and (n.plan).payment_id = p.id::text
   cross join lateral (
     -- the period as it is kept, or as its entry keeps one that is over
     select coalesce(
       n.begun,
       (select tokenbook.slot_number(one.schedule, one.period_start, one.expires_at - interval '1 microsecond') + 1
          from ledger t
         cross join lateral tokenbook.plans_of(tokenbook.kept_subscription(t.terms -> 'subscription')) one
         where t.user_id = p.user_id and t.payment_id = p.id and t.entry_type = 'grant' and one.payment_id = p.id::text
         limit 1)) * (p.terms ->> 'tokens')::bigint as tokens) how
   where p.terms ->> 'issue_every' is not null and p.status in ('approved', 'refunded')
     and (p.tokens > how.tokens
       or p.tokens < how.tokens and num_nonnulls(p.terms ->> 'refill_to', p.terms ->> 'grant_lifetime_days') = 0)
  union all
  -- payments: what was paid and taken back, what it gave, and what its provider said
  select 'I12 tokens follow the money', p.user_id, g.id, null,
         concat_ws(' ', 'payment', p.id, differs.field, coalesce(differs.expected, 'none')),
         concat_ws(' ', differs.field, coalesce(differs.found, 'none'))
    from payments p
    left join grants g on g.user_id = p.user_id and g.payment_id = p.id
    left join of_payments t on t.user_id = p.user_id and t.payment_id = p.id
    left join of_slots o on o.user_id = p.user_id and o.payment_id = p.id::text
    left join refund_changes c on c.user_id = p.user_id and c.payment_id = p.id::text
    left join facts f on f.user_id = p.user_id and f.provider = p.provider and f.provider_payment_id = p.provider_payment_id
   cross join lateral (
     select p.status in ('approved', 'refunded') as is_paid,
            p.refunded_cents > 0 and p.refunded_cents >= p.amount_cents as is_refunded,
            p.refunded_cents + p.disputed_cents as lost,
            -- the refund that the last clawback or restoration was booked for
            (t.refund ->> 'refunded_cents')::bigint + (t.refund ->> 'disputed_cents')::bigint as lost_then,
            (t.refund ->> 'amount_cents')::bigint as amount_then) as how
   cross join lateral (values
     -- plus what its plan's schedule has given since
     ('tokens', case when how.is_paid then coalesce(g.tokens_granted, -1) + coalesce(o.tokens, 0) else g.tokens_granted end::text, p.tokens::text),
     ('tokens_clawed_back', (coalesce(t.clawed_back, 0) + p.tokens_lapsed)::text, p.tokens_clawed_back::text),
     ('tokens_lapsed', coalesce(t.lapsed, 0)::text, p.tokens_lapsed::text),
     ('share', case when not how.is_paid or how.lost = 0 then 0
                    when how.lost >= p.amount_cents then p.tokens
                    else floor(p.tokens::numeric * how.lost / p.amount_cents) end::text, p.tokens_clawed_back::text),
     ('share by its entry', case when not how.is_paid or coalesce(how.lost_then, 0) = 0 then 0
                                 when how.lost_then >= how.amount_then then p.tokens
                                 else floor(p.tokens::numeric * how.lost_then / how.amount_then) end::text, p.tokens_clawed_back::text),
     ('status', case when not how.is_paid then case when g.id is null then p.status end
                     when how.is_refunded then 'refunded' else 'approved' end, p.status),
     ('provider', case when p.provider <> 'manual' then f.provider else 'manual' end, p.provider),
     -- a payment that turned out to be a part of another is undone; for one by hand the refund recorded last counts
     ('refunded_cents', case when not how.is_paid then 0
                             when p.provider = 'manual' then coalesce(c.refunded_cents, 0)
                             when f.part_of is not null then greatest(p.amount_cents, 1)
                             else f.refunded_cents end::text, p.refunded_cents::text),
     ('disputed_cents', case when how.is_paid and p.provider <> 'manual' then f.disputed_cents else 0 end::text, p.disputed_cents::text),
     ('to_plan', case when f.part_of is null then coalesce(f.plan_type, case when f.pack_type is null then p.to_plan end) else p.to_plan end, p.to_plan),
     ('pack_type', case when f.part_of is null then coalesce(f.pack_type, case when f.plan_type is null then p.pack_type end) else p.pack_type end, p.pack_type),
     ('quantity', coalesce(case when f.part_of is null then f.quantity end, p.quantity)::text, p.quantity::text),
     -- a pack gives the tokens on the terms it was asked for at, times its quantity
     ('terms', case when how.is_paid and p.pack_type is not null
                    then coalesce((p.terms ->> 'tokens')::bigint * p.quantity, -1) else p.tokens end::text, p.tokens::text),
     ('decided_at', case when p.status = 'pending' then null else coalesce(p.decided_at::text, 'a moment') end, p.decided_at::text),
     ('reason', case p.status when 'pending' then null when 'rejected' then coalesce(p.reason, 'one') else p.reason end, p.reason)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I12 a payment is what its entry says', coalesce(p.user_id, t.user_id), null, t.transaction_id,
         concat_ws(' ', 'payment', b.id, differs.field, coalesce(differs.expected, 'none')),
         concat_ws(' ', differs.field, coalesce(differs.found, 'none'))
    from (
      select l.user_id, l.id as transaction_id, l.payment_id, l.reason, l.terms -> 'payment' as payment
        from ledger l where l.entry_type = 'grant' and (l.payment_id is not null or l.terms ? 'payment')) t
   cross join lateral jsonb_populate_record(null::public.token_payments,
     case jsonb_typeof(t.payment) when 'object' then t.payment else '{}' end) b
    left join payments p on p.user_id = t.user_id and p.id = b.id
    left join facts f on f.user_id = p.user_id and f.provider = p.provider and f.provider_payment_id = p.provider_payment_id
    left join told o on o.provider = p.provider and o.whole = p.provider_payment_id
   cross join lateral (values
     ('id', b.id::text, p.id::text),
     ('entry', b.id::text, t.payment_id::text),
     ('provider', b.provider, p.provider),
     ('provider_payment_id', b.provider_payment_id, p.provider_payment_id),
     ('from_plan', b.from_plan, p.from_plan),
     ('to_plan', b.to_plan, p.to_plan),
     ('pack_type', b.pack_type, p.pack_type),
     ('quantity', b.quantity::text, p.quantity::text),
     ('terms', b.terms::text, jsonb_strip_nulls(p.terms)::text),
     -- more may have been learned since it was booked
     ('amount_cents', case when f.part_of is null then coalesce(o.amount_cents, b.amount_cents) else p.amount_cents end::text, p.amount_cents::text),
     ('amount_cents then', case when b.amount_cents = any (o.amounts) is not false then b.amount_cents else o.amount_cents end::text, b.amount_cents::text),
     ('currency', case when f.part_of is null then coalesce(o.currency, b.currency) else p.currency end, p.currency),
     ('idempotency_key', b.idempotency_key, p.idempotency_key),
     -- words are no part of the terms, because they may be erased
     ('reason', t.reason, p.reason),
     ('created_at', b.created_at::text, p.created_at::text),
     ('decided_at', b.decided_at::text, p.decided_at::text),
     ('decided_by', b.decided_by::text, p.decided_by::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I12 what is known of a payment is what was told', f.user_id, null, null,
         concat_ws(' ', f.provider, f.provider_payment_id, differs.field, coalesce(differs.expected, 'none')),
         concat_ws(' ', differs.field, coalesce(differs.found, 'none'))
    from facts f
    left join told t on t.provider = f.provider and t.whole = f.provider_payment_id
    left join differing x on x.provider = f.provider and x.whole = f.provider_payment_id
    left join tokenbook.provider_payments w on w.provider = f.provider and w.provider_payment_id = f.part_of
    left join payments p on p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id
   cross join lateral (values
     ('part_of', case when w.part_of is null and f.part_of <> f.provider_payment_id then w.provider_payment_id end, f.part_of),
     ('events', case when f.part_of is null then greatest(t.events, 1) else 0 end::text, coalesce(t.events, 0)::text),
     ('is_paid', coalesce(t.is_paid, false)::text, f.is_paid::text),
     -- the user of a payment that is not booked: named by an event, or once known as its customer
     ('user_id', case when p.id is not null or f.user_id = any (t.users) then f.user_id::text
                      when f.user_id is not null and tokenbook.was_customer(f.provider, t.customer_id, f.user_id) then f.user_id::text end,
                 f.user_id::text),
     ('amount_cents', case when f.part_of is null then coalesce(t.amount_cents, p.amount_cents, f.amount_cents) end::text, f.amount_cents::text),
     ('currency', t.currency, f.currency),
     ('from_balance_cents', t.from_balance_cents::text, f.from_balance_cents::text),
     ('refunded_cents', coalesce(t.refunded_cents, 0)::text, f.refunded_cents::text),
     ('disputed_cents', coalesce(t.disputed_cents, 0)::text, f.disputed_cents::text),
     ('period_start', t.period_start::text, f.period_start::text),
     ('customer_id', t.customer_id, f.customer_id),
     ('price_id', t.price_id, f.price_id),
     ('subscription_id', t.subscription_id, f.subscription_id),
     ('cycles_completed', t.cycles_completed::text, f.cycles_completed::text),
     -- one of the things that events named; NULL where none of them is in the catalogue
     ('what was bought', case when num_nonnulls(f.plan_type, f.pack_type) < 2 and coalesce(f.plan_type, 'pack ' || f.pack_type) = any (t.things)
                              then coalesce(f.plan_type, 'pack ' || f.pack_type) end, coalesce(f.plan_type, 'pack ' || f.pack_type)),
     ('quantity', case when num_nonnulls(f.plan_type, f.pack_type) = 1 then coalesce(f.quantity, 1) end::text, f.quantity::text),
     ('parked_reason', case when t.is_paid is not true then null
                            when num_nonnulls(f.plan_type, f.pack_type) > 0 then case
                              when f.user_id is null then 'user_unknown'
                              -- it waits beside one that is booked
                              when f.parked_reason = 'second_in_period' and p.id is null and not t.is_assigned
                                and exists (select 1 from of_periods o where o.provider = f.provider and o.id = f.provider_payment_id)
                              then 'second_in_period'
                              -- or with a credit that nobody can trace
                              when f.parked_reason = 'paid_with_credit' and p.id is null and not t.is_assigned and t.from_balance_cents > 0
                                and exists (select 1 from tokenbook.provider_payments c
                                             where c.provider = f.provider and c.customer_id = f.customer_id and c.from_balance_cents < 0)
                              then 'paid_with_credit' end
                            when t.reason is not null then t.reason
                            when t.are_several and f.parked_reason = 'quantity' then 'quantity'
                            when t.price_id is not null or t.things is not null then 'price_unknown'
                            else 'nothing_named' end, f.parked_reason),
     ('disagrees', x.others::text, f.disagrees::text),
     -- received before its payment's first event, or after its last
     ('events out of their time:', null, t.astray)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I12 the parts of a payment are together', f.user_id, null, null,
         concat_ws(' ', e.provider, e.whole, 'with', named.part), 'apart'
    from events e
    join facts f on f.provider = e.provider and f.provider_payment_id = e.whole
   cross join lateral jsonb_array_elements_text(case jsonb_typeof(e.fact -> 'parts') when 'array' then e.fact -> 'parts' else '[]' end) as named (part)
   where not exists (select 1 from parts o where o.provider = e.provider and o.whole = e.whole and o.part = named.part)
  union all
  select 'I12 what was paid is booked', f.user_id, null, null, concat_ws(' ', f.provider, f.provider_payment_id), 'no payment'
    from facts f
   where f.is_paid and f.user_id is not null and num_nonnulls(f.plan_type, f.pack_type) > 0 and f.parked_reason is null
     and not exists (
       select 1 from payments p
        where p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id)
  union all
  select 'I12 one payment a period', o.user_id, null, null,
         concat_ws(' ', o.provider, o.id, 'waits: booked beside it are', o.beside_before), 'booked'
    from of_periods o
   where o.payment_id is not null and not o.is_decided and o.beside_before > 0
     -- and the provider does not say that so many periods were paid for
     and o.cycles_before is distinct from -1 and o.cycles - coalesce(o.cycles_before, 0) <= o.beside_before
  union all
  select 'I12 an event is of a payment', null, null, null, concat_ws(' ', e.provider, e.provider_payment_id), 'nothing known of it'
    from tokenbook.provider_events e
   where p_user_id is null and p_after is null
     and not exists (
       select 1 from tokenbook.provider_payments f
        where f.provider = e.provider and f.provider_payment_id = e.provider_payment_id)
  union all
  select 'I12 a fact is as it was told', null, null, null,
         concat_ws(' ', e.provider, e.provider_payment_id, e.event_id, says.digest, e.facts ->> 'occurred_at'),
         concat_ws(' ', e.digest, e.occurred_at)
    from tokenbook.provider_events e
   cross join lateral (
     select sha256(convert_to(
              jsonb_build_array(e.provider, e.provider_payment_id, e.event_id, e.event_type, e.facts)::text, 'UTF8')) as digest) says
   where p_user_id is null and p_after is null
     and (e.digest <> says.digest
       or e.occurred_at <> coalesce((e.facts ->> 'occurred_at')::timestamptz, e.occurred_at))
  union all
  -- a grant and the transaction that gave it; grants from before the books have none
  select 'I4 a grant is what its transaction gave', g.user_id, g.id, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'another'),
         differs.field || ' ' || coalesce(differs.found, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
   cross join lateral (values
     ('tokens_granted', t.tokens::text, g.tokens_granted::text),
     ('created_at', t.created_at::text, g.created_at::text),
     ('granted_at', least(g.granted_at, t.created_at)::text, g.granted_at::text),
     -- an action that only one type has names the type; a plan's grants are of any type, but a trial is named so
     ('grant_type', coalesce((
                      select of.name from jsonb_each(tokenbook.built_in_grant_types()) as of (name, type)
                       where of.type ->> 'action_type' = t.action_type and t.action_type <> 'subscription_grant'),
                      nullif(g.grant_type, 'trial')), g.grant_type),
     -- a payment that came after its period was granted is in the grant only
     ('payment_id', coalesce(t.payment_id, g.payment_id)::text, g.payment_id::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 a grant keeps the terms it was given on', coalesce(g.user_id, o.user_id), coalesce(g.id, o.grant_id), o.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from grants g
    full join given o on o.user_id = g.user_id and o.grant_id = g.id
    left join voids v on v.user_id = g.user_id and v.grant_id = g.id::text
    left join paid_later p on p.user_id = g.user_id and p.grant_id = to_jsonb(g.id)
   cross join lateral (values
     ('id', o.grant_id::text, g.id::text),
     ('grant_type', o.grant_type, g.grant_type),
     ('tokens_granted', o.tokens_granted::text, g.tokens_granted::text),
     ('priority', o.priority::text, g.priority::text),
     ('granted_at', o.granted_at::text, g.granted_at::text),
     ('expires_at', case when v.grant_id is null then o.expires_at
                         else least(o.expires_at, greatest(v.created_at, o.granted_at + interval '1 microsecond')) end::text,
                    g.expires_at::text),
     ('voided_at', v.created_at::text, g.voided_at::text),
     ('subscription_id', o.subscription_id::text, g.subscription_id::text),
     ('period_start', o.period_start::text, g.period_start::text),
     ('rolled_over_from', o.rolled_over_from::text, g.rolled_over_from::text),
     ('legacy_transaction_id', o.legacy_transaction_id, g.legacy_transaction_id),
     ('pays_for', o.pays_for::text, g.pays_for::text),
     ('cost_basis_cents', o.cost_basis_cents::text, g.cost_basis_cents::text),
     ('currency', o.currency, g.currency),
     ('cost_basis_of', coalesce(o.cost_basis_of, p.payment_id)::text, g.cost_basis_of::text),
     ('created_at', o.created_at::text, g.created_at::text),
     -- no entry has what is attached to a grant from before the books, or to one that was issued again
     ('metadata', coalesce(o.attached, g.metadata)::text, g.metadata::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 a grant is voided by its entry', v.user_id, null, v.transaction_id,
         concat_ws(' ', 'grant', v.grant_id, 'given by', given.by, 'until', (o.expires_at at time zone 'utc')::text || 'Z'),
         concat_ws(' ', 'grant', coalesce(o.grant_id::text, 'none'), 'given by', v.original_id, 'until', v.metadata ->> 'expires_at')
    from voids v
    left join given o on o.user_id = v.user_id and o.grant_id::text = v.grant_id
    left join lateral (
      select min(a.transaction_id) as by from allocated a
       where a.user_id = v.user_id and a.grant_id = o.grant_id and a.transaction_id < v.transaction_id) given on true
   where o.grant_id is null or given.by is distinct from v.original_id
      or (o.expires_at at time zone 'utc')::text || 'Z' is distinct from v.metadata ->> 'expires_at'
  union all
  -- an upcoming grant waits, begins on its terms and not before its moment, or is called off
  select 'I4 a grant to come waits for its moment', coalesce(c.user_id, u.user_id), coalesce(c.grant_id, u.id), coalesce(c.transaction_id, u.transaction_id),
         concat_ws(' ', 'grant', coalesce(c.grant_id::text, 'none'), 'of entry', c.transaction_id, 'from', c.starts_at),
         concat_ws(' ', 'grant', coalesce(u.id::text, 'none'), 'of entry', u.transaction_id, 'from', u.starts_at)
    from (select w.* from to_come w where w.came_id is null) c
    full join (
      select g.* from tokenbook.upcoming_grants g
       where (v_users is null or g.user_id = any (v_users))) u on u.user_id = c.user_id and u.transaction_id = c.transaction_id
   where (c.grant_id, c.starts_at) is distinct from (u.id, u.starts_at)
  union all
  select 'I4 what came of a grant to come is what was said', c.user_id, c.grant_id, c.came_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from to_come c
    join ledger t on t.user_id = c.user_id and t.id = c.came_id
   cross join lateral (values
     ('entries', '1', c.times::text),
     ('entry_type', case when t.entry_type in ('grant', 'void') then t.entry_type else 'grant or void' end, t.entry_type),
     ('grant', c.grant_id::text, case t.entry_type when 'void' then t.terms ->> 'voids' else t.grant_ids[1]::text end),
     ('moment', case when t.entry_type = 'grant' then greatest(c.starts_at, t.created_at) end::text,
                case when t.entry_type = 'grant' then t.created_at end::text),
     ('terms', case when t.entry_type = 'grant' then to_jsonb(jsonb_populate_record(null::public.token_balances, c.terms)) end::text,
               case when t.entry_type = 'grant' then
                 to_jsonb(jsonb_populate_record(null::public.token_balances, (t.terms -> 'grants' -> 0) - 'created_at')) end::text),
     ('metadata', case when t.entry_type = 'grant' then c.metadata end::text, case when t.entry_type = 'grant' then t.metadata end::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 a grant that was to come was said to', t.user_id, t.grant_ids[1], t.id, 'an entry that says so', coalesce(t.original_id::text, 'none')
    from ledger t
    left join to_come c on c.user_id = t.user_id and c.transaction_id = t.original_id
   where t.entry_type = 'grant' and t.original_id is not null and c.transaction_id is null
  union all
  select 'I4 a grant to come is said before it comes', c.user_id, c.grant_id, c.transaction_id,
         'after ' || c.created_at, coalesce(c.starts_at::text, 'never')
    from to_come c
   where (c.starts_at > c.created_at) is not true
  union all
  select 'I4 an expiry is changed from what it was', e.user_id, null, e.transaction_id,
         'grant ' || e.grant_id || ' until ' || coalesce(e.expected::text, 'never'),
         'grant ' || e.grant_id || ' until ' || coalesce(e.before::text, 'never')
    from (
      select x.*, f.grant_id is not null as is_given,
             case when lag(x.transaction_id) over by_grant is null then f.expires_at else lag(x.after) over by_grant end as expected
        from expiries x
        left join first_given f on f.user_id = x.user_id and f.grant_id::text = x.grant_id
      window by_grant as (partition by x.user_id, x.grant_id order by x.transaction_id)) e
   where not e.is_given or e.before is distinct from e.expected or e.after <= e.created_at or e.before <= e.created_at
  union all
  select 'I4 a grant begins with the one transaction that gave it', h.user_id, h.grant_id, h.first_id,
         'one transaction that gives it, the first',
         h.times || ' that give it, from ' || coalesce(h.given_id::text, 'none') || ' on'
    from (
      select a.user_id, a.grant_id, min(a.transaction_id) as first_id,
             min(a.transaction_id) filter (where a.entry_type in ('grant', 'opening_balance', 'restatement', 'refund', 'restoration', 'release', 'rollover')) as given_id,
             count(*) filter (where a.entry_type in ('grant', 'opening_balance')) as times
        from allocated a group by a.user_id, a.grant_id) h
   where h.given_id is distinct from h.first_id or h.times > 1
  union all
  select 'I9 a grant''s subscription is the user''s', g.user_id, g.id, t.id,
         coalesce(s.id::text, 'none'), coalesce(g.subscription_id::text, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
    left join tokenbook.subscriptions s on (p_user_id is null or s.user_id = p_user_id) and s.user_id = g.user_id
   where g.subscription_id is distinct from s.id
     and (g.subscription_id is not null or g.period_start is not null)
  union all
  select 'I9 a payment is the user''s', n.user_id, n.grant_id, n.transaction_id, 'payment ' || n.payment_id, 'none'
    from (
      select g.user_id, g.id as grant_id, null::bigint as transaction_id, g.payment_id from grants g
      union all
      select t.user_id, null, t.id, t.payment_id from ledger t) n
    left join public.token_payments p on (p_user_id is null or p.user_id = p_user_id) and p.user_id = n.user_id and p.id = n.payment_id
   where n.payment_id is not null and p.id is null
  union all
  -- each transaction by itself: the rules of the constraints, checked on the rows that are there
  select 'I4 an entry is of one kind', t.user_id, null, t.id,
         'sign, reserve, debt, links, terms and action of ' || t.entry_type,
         concat_ws(' ', t.tokens, 'tokens', t.reserved_change, 'reserved', t.debt_change, 'debt', t.action_type,
           array(select jsonb_object_keys(case jsonb_typeof(t.terms) when 'object' then t.terms end)))
    from ledger t
   where (case t.entry_type
            when 'opening_balance' then t.id = 1 and t.tokens >= 0
            when 'grant' then t.tokens > 0
            when 'deduction' then t.reserved_change in (0, case when t.hold_id is not null then t.tokens end)
              and t.debt_change >= 0 and t.tokens - t.debt_change < 0
              -- a use owes exactly what the account did not have
              and (t.debt_change = 0 or t.reserved_change = 0 and t.balance_after = 0 and t.action_type <> 'admin_deduct')
            when 'expiry' then t.tokens < 0
            when 'clawback' then t.tokens <= 0 and t.debt_change >= 0
              and (t.payment_id is null) = (coalesce(t.terms ? 'voids', false) or t.metadata ? 'mirrored_from')
            when 'restoration' then t.tokens >= 0 and t.debt_change <= 0 and t.payment_id is not null
            when 'debt_repayment' then t.tokens < 0 and t.debt_change = t.tokens
            when 'usage' then t.tokens = 0
            when 'restatement' then t.tokens <> 0
            when 'hold' then t.tokens = 0 and t.reserved_change > 0
            when 'release' then t.tokens = 0 and t.reserved_change < 0
            when 'refund' then t.tokens >= 0 and t.debt_change <= 0 and t.tokens - t.debt_change > 0
            when 'void' then t.tokens <= 0
            when 'rollover' then t.tokens <> 0
          end
          and (t.usage_id is null or t.entry_type in ('grant', 'deduction', 'usage', 'refund'))
          and (t.payment_id is null or t.entry_type in ('grant', 'clawback', 'restoration'))
          and (t.original_id is null or t.entry_type in ('release', 'refund', 'void', 'restatement', 'rollover', 'grant') or t.terms ? 'voids')
          -- and its terms keep what began or ended with it
          and (jsonb_typeof(t.terms) = 'object' and t.terms <> '{}') is distinct from false
          and case when t.terms is null then '{}'
                   else array(select jsonb_object_keys(case jsonb_typeof(t.terms) when 'object' then t.terms end) order by 1) end = case
                when t.entry_type = 'opening_balance' then array['grants']
                when t.entry_type = 'rollover' and t.tokens > 0 then array['grants']
                when t.entry_type = 'refund' then -- what was reissued, and the grants that had repaid what was owed
                  case when t.terms ? 'grants' then array['grants'] else '{}' end || case when t.terms ? 'repaid' then array['repaid'] end
                when t.entry_type = 'clawback' and t.metadata ? 'mirrored_from' then '{}' -- of a shadow: no payment's, no grant's
                when t.entry_type = 'void' or (t.entry_type = 'clawback' and t.payment_id is null) then array['voids']
                when t.entry_type in ('clawback', 'restoration') then array['refund']
                when t.entry_type = 'grant' then
                  case when t.terms ? 'code' then array['code'] end || array['grants'] || case when t.payment_id is not null then array['payment'] end
                    || case when t.terms ? 'referral' then array['referral'] end
                    || case when t.terms ? 'storage' then array['storage'] end
                    || case when t.action_type = 'scheduled_grant' then array['slots'] end
                    || case when t.terms -> 'grants' -> 0 ? 'subscription_id' then array['subscription'] end
                when t.entry_type in ('deduction', 'hold') and t.terms ? 'model' then array['model'] -- where grants pay only for some
                when t.action_type = 'plan_change' and t.usage_id is null and t.terms ? 'standing' then array['standing']
                when t.action_type = 'expiry_change' then array['expiry']
                when t.action_type in ('hold_split', 'hold_return') then case when t.terms ? 'model' then array['model', 'move'] else array['move'] end
                when t.action_type = 'upcoming_grant' then array['upcoming']
                when t.action_type = 'plan_change' and t.usage_id is null and not t.metadata ? 'effective_at' then
                  case when t.terms ? 'storage' then array['storage'] end || array['subscription']
                else '{}' end
          and (t.metadata = '{}' or t.entry_type not in ('expiry', 'debt_repayment', 'release', 'restoration', 'clawback')
            or (t.entry_type = 'clawback' and (t.terms ? 'voids' or t.metadata ? 'mirrored_from')))
          and (t.debt_change = 0 or t.entry_type in ('opening_balance', 'deduction', 'refund', 'clawback', 'restoration', 'debt_repayment'))
          and (t.reserved_change = 0 or t.entry_type in ('deduction', 'hold', 'release'))
          and case
                when t.entry_type in ('opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
                  then t.action_type = t.entry_type
                when t.action_type = any (tokenbook.grant_action_types())
                  -- a grant that no period gave is named by its type
                  then t.entry_type = 'grant'
                    and case when t.terms -> 'grants' -> 0 ? 'subscription_id'
                          then right(t.action_type, 6) = '_grant' and t.action_type <> 'admin_grant' -- no pack, and nobody's gift
                          else t.action_type = tokenbook.grant_type_terms(t.terms -> 'grants' -> 0 ->> 'grant_type') ->> 'action_type' end
                when t.action_type in ('hold_split', 'hold_return') then t.entry_type = 'usage' and t.usage_id is null and t.hold_id is not null
                when t.action_type in ('plan_change', 'restating', 'expiry_change', 'upcoming_grant') then t.entry_type = 'usage' and t.usage_id is null
                else t.entry_type <> 'grant'
                  and t.action_type <> all (array_remove(tokenbook.reserved_action_types(), 'admin_deduct'))
              end) is not true
  union all
  select 'I5 a code is redeemed by its entry', coalesce(t.user_id, r.user_id), null, coalesce(t.id, r.transaction_id),
         coalesce(t.terms ->> 'code', 'none'), coalesce(r.code_id::text, 'none')
    from (select l.user_id, l.id, l.terms from ledger l where l.terms ? 'code') t
    full join (
      select r.user_id, r.code_id, r.transaction_id from tokenbook.code_redemptions r
       where (v_users is null or r.user_id = any (v_users))) r
      on r.user_id = t.user_id and r.transaction_id = t.id
   where t.terms ->> 'code' is distinct from r.code_id::text
  union all
  -- both sides of a referral: the grant that it names, and the one that an entry gave for it
  select 'I5 a referral is rewarded by its entries', coalesce(t.user_id, r.user_id), coalesce(r.grant_id, t.grant_ids[1]), t.id,
         concat_ws(' ', 'grant', t.grant_ids[1], 'of', t.terms ->> 'referral'),
         concat_ws(' ', 'grant', r.grant_id, 'of', r.id)
    from (select l.user_id, l.id, l.terms, l.grant_ids from ledger l where l.terms ? 'referral') t
    full join (
      select one.user_id, one.grant_id, r.id
        from tokenbook.referrals r
       cross join lateral (values (r.user_id, r.referred_grant_id), (r.referrer_id, r.referrer_grant_id)) as one (user_id, grant_id)
       where one.grant_id is not null
         and (exists (select 1 from public.token_accounts a where a.user_id = one.user_id)
           or not exists ( -- one of the two has been moved here alone
             select 1 from tokenbook.moves m where m.user_id in (r.user_id, r.referrer_id) and m.direction = 'in'))
         and (v_users is null or one.user_id = any (v_users))) r
      on r.user_id = t.user_id and r.grant_id = t.grant_ids[1]
   where t.terms ->> 'referral' is distinct from r.id::text
  union all
  select 'I4 an entry undoes what came before', t.user_id, null, t.id, 'before ' || t.id, t.original_id::text
    from ledger t
    left join ledger o on o.user_id = t.user_id and o.id = t.original_id
   where t.original_id not between 1 and t.id - 1
      or (t.entry_type = 'restatement' and t.original_id is not null and (o.entry_type, o.tokens) is distinct from ('restatement', -t.tokens))
  union all
  select 'I4 usage and transaction say the same', u.user_id, null, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from usages u
    left join ledger t on t.user_id = u.user_id and t.id = u.transaction_id
   cross join lateral (
     select jsonb_strip_nulls(jsonb_build_object(
              'model_used', u.model_used, 'input_tokens', u.input_tokens, 'output_tokens', u.output_tokens,
              'cached_tokens', u.cached_tokens, 'reasoning_tokens', u.reasoning_tokens, 'images', u.images,
              'seconds', u.seconds, 'error_message', u.error_message)) as found,
            t.request - array['operation', 'on_shortage', 'action_type', 'tokens_used', 'success'] as asked) measured
   cross join lateral (values
     ('usage_id', coalesce(t.usage_id::text, 'none'), u.id::text),
     -- in the audit trail an admin's grant of any type is an admin_grant
     ('action_type', case when t.entry_type = 'grant' then 'admin_grant' else t.action_type end, u.action_type),
     ('created_at', t.created_at::text, u.created_at::text),
     ('member_id', t.member_id::text, u.member_id::text),
     -- for a correction the audit trail has the reason too
     ('metadata', (case when u.action_type in ('admin_grant', 'admin_deduct')
                        then t.metadata || jsonb_build_object('reason', t.reason, 'transaction_id', t.id) else t.metadata end)::text,
                  u.metadata::text),
     -- where grants pay only for some models, both have the model
     ('model_used', coalesce(t.terms ->> 'model', u.model_used), u.model_used),
     -- with an idempotency key, the request has the measured amounts too
     ('measured', case when t.request ->> 'operation' = 'track' then measured.asked else measured.found end::text,
                  measured.found::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  -- a hold and its entries
  select 'I4 a hold is what its entry says', h.user_id, null, h.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from holds h
    left join ledger t on t.user_id = h.user_id and t.id = h.transaction_id and (t.entry_type = 'hold' or t.action_type = 'hold_split')
    left join split_holds s on s.user_id = h.user_id and s.hold_id = h.id
    left join moved_holds m on m.user_id = h.user_id and m.hold_id = h.id::text
    left join of_children k on k.user_id = h.user_id and k.parent_id = h.id
    left join of_hold_entries e on e.user_id = h.user_id and e.hold_id = h.id
    left join ledger c on c.user_id = h.user_id and c.id = e.capture_id
    left join usages u on u.user_id = h.user_id and u.id = h.usage_id
   cross join lateral (values
     ('hold_id', t.hold_id::text, h.id::text),
     ('tokens', coalesce(s.tokens, t.reserved_change)::text, h.tokens::text),
     ('grant_ids', coalesce(s.grant_ids, t.grant_ids::text), h.grant_ids::text),
     ('grant_tokens', coalesce(s.grant_tokens, t.grant_tokens::text), h.grant_tokens::text),
     ('parent_id', case when t.action_type = 'hold_split' then t.terms #>> '{move,from}' end, h.parent_id::text),
     ('tokens_passed', (case when h.parent_id is null then coalesce(m.passed, 0) else 0 end)::text, h.tokens_passed::text),
     ('children_captured', coalesce(k.captured, 0)::text, h.children_captured::text),
     ('action_type', case when t.action_type = 'hold_split' then t.reason else t.action_type end, h.action_type),
     ('actor_role', t.actor_role, h.actor_role),
     ('created_at', t.created_at::text, h.created_at::text),
     ('member_id', t.member_id::text, h.member_id::text),
     ('metadata', t.metadata::text, h.metadata::text),
     -- with an idempotency key, the request has the hold's lifetime
     ('expires_at', coalesce(t.created_at + (t.request ->> 'ttl_seconds')::integer * interval '1 second', h.expires_at)::text,
                    h.expires_at::text),
     ('capture_id', e.capture_id::text, h.capture_id::text),
     ('captured_from', coalesce(h.grant_ids[:cardinality(c.grant_ids)]::text, 'none'), coalesce(c.grant_ids::text, 'none')),
     ('tokens_captured', case when e.settled_at is not null then coalesce(e.captured, 0) end::text, h.tokens_captured::text),
     ('overage_id', e.overage_id::text, h.overage_id::text),
     ('usage_id', c.usage_id::text, h.usage_id::text),
     ('tokens_uncovered', coalesce(u.tokens_uncovered, h.tokens_uncovered)::text, h.tokens_uncovered::text),
     ('settled_at', e.settled_at::text, h.settled_at::text),
     ('status', case when e.settled_at is null then 'open'
                     else case e.release_reason when 'the hold ran out' then 'expired' when 'released' then 'released'
                                                when 'not needed' then 'captured' else coalesce('released: ' || e.release_reason, 'captured') end end,
                h.status)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 an entry of a hold is like it', t.user_id, null, t.id,
         coalesce('for ' || h.action_type, 'no hold'), concat_ws(' ', 'for', t.action_type, 'of hold', t.hold_id)
    from ledger t
    left join holds h on h.user_id = t.user_id and h.id = t.hold_id
   where case when t.hold_id is not null then (h.action_type, h.member_id) is distinct from (
                  case when t.action_type = 'hold_split' then t.reason when t.action_type = 'hold_return' then h.action_type else t.action_type end, t.member_id)
                or (t.entry_type = 'release' and t.original_id is distinct from coalesce(
                  (select p.transaction_id from holds p where p.user_id = h.user_id and p.id = h.parent_id), h.transaction_id))
              else t.entry_type in ('hold', 'release') end
  union all
  -- moves between a hold and its child
  select 'I4 a move is between a hold and its child', t.user_id, null, t.id,
         case t.action_type when 'hold_split' then concat_ws(' ', h.parent_id, 'to', h.id) else concat_ws(' ', h.id, 'to', h.parent_id) end,
         concat_ws(' ', t.terms #>> '{move,from}', 'to', t.terms #>> '{move,to}')
    from ledger t
    left join holds h on h.user_id = t.user_id and h.id = t.hold_id
    left join holds p on p.user_id = h.user_id and p.id = h.parent_id
   where t.action_type in ('hold_split', 'hold_return')
     and (case t.action_type
            when 'hold_split' then t.terms #>> '{move,from}' = p.id::text and t.terms #>> '{move,to}' = h.id::text
              and t.id >= h.transaction_id and t.terms -> 'move' -> 'grant_ids' <> '[]'
            else t.terms #>> '{move,from}' = h.id::text and (t.terms #>> '{move,to}') is not distinct from p.id::text
          end
          and (p.id is null or p.parent_id is null and p.member_id is not distinct from h.member_id -- the parent is one, and open
            and t.created_at < p.expires_at and t.created_at <= coalesce(p.settled_at, 'infinity'))) is not true
  union all
  select 'I1 children have no more than was set aside', m.user_id, null, m.id, 'at most ' || m.set_aside, m.passed::text
    from (
      select m.user_id, m.id, o.reserved_change as set_aside,
             -sum(m.tokens) over (partition by m.user_id, m.hold_id order by m.id) as passed
        from (select m.user_id, m.hold_id, m.id, sum(m.tokens) as tokens from hold_moves m group by m.user_id, m.hold_id, m.id) m
        join holds h on h.user_id = m.user_id and h.id::text = m.hold_id and h.parent_id is null
        join ledger o on o.user_id = h.user_id and o.id = h.transaction_id) m
   where m.passed > m.set_aside
  union all
  select 'I8 a grant pays only for what it may', m.user_id, g.id, m.id, g.pays_for::text,
         concat_ws(' ', t.reason, t.terms ->> 'model')
    from hold_moves m
    join ledger t on t.user_id = m.user_id and t.id = m.id
    join grants g on g.user_id = m.user_id and g.id::text = m.grant_id
   where m.sign = 1 and t.action_type = 'hold_split' and g.pays_for is not null
     and not tokenbook.pays_for(g.pays_for, t.reason, t.terms ->> 'model')
  union all
  select 'I4 a refund is of its charge', t.user_id, null, t.id,
         concat_ws(' ', 'a deduction', o.action_type, o.usage_id, o.hold_id),
         concat_ws(' ', coalesce(o.entry_type, 'none'), t.action_type, t.usage_id, t.hold_id)
    from ledger t
    left join ledger o on o.user_id = t.user_id and o.id = t.original_id
   where t.entry_type = 'refund'
     and (o.entry_type, o.action_type, o.usage_id, o.hold_id, o.member_id)
         is distinct from ('deduction', t.action_type, t.usage_id, t.hold_id, t.member_id)
  union all
  select 'I4 no more is refunded than was charged', o.user_id, null, o.id,
         concat_ws(' ', 'at most', o.debt_change - o.tokens, 'tokens,', o.debt_change, 'of them owed'),
         concat_ws(' ', r.tokens, 'tokens,', r.debt, 'of them owed')
    from ledger o
    join (
      select t.user_id, t.original_id, sum(t.tokens - t.debt_change) as tokens, -sum(t.debt_change) as debt
        from ledger t where t.entry_type = 'refund' group by t.user_id, t.original_id) r
      on r.user_id = o.user_id and r.original_id = o.id
   where r.tokens > o.debt_change - o.tokens or r.debt > o.debt_change
  union all
  -- keys
  select 'I5 one key, one effect', t.user_id, null, max(t.id), '1 for key ' || t.idempotency_key, count(*)::text
    from ledger t where t.idempotency_key is not null
   group by t.user_id, t.member_id, t.idempotency_key, (t.actor_role = 'user')
  having count(*) > 1
  union all
  select 'I5 a key keeps its request', t.user_id, null, t.id,
         case when t.idempotency_key is null then 'no request' else 'a request' end,
         case when t.request is null then 'no request' else 'a request' end
    from ledger t where (t.idempotency_key is null) <> (t.request is null)
  union all
  select 'I5 a request is what was done', t.user_id, null, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from ledger t
   cross join lateral (values
     ('operation', coalesce(t.request ->> 'operation', 'one'), t.request ->> 'operation'),
     ('tokens', case when t.terms ? 'upcoming' then (t.terms -> 'upcoming' -> 'tokens_granted')::bigint
                     when t.action_type = 'hold_split' then (
                       select sum(m.tokens) from hold_moves m where m.user_id = t.user_id and m.id = t.id and m.sign = 1)
                     when t.request ->> 'operation' in ('deduct', 'reserve', 'grant') then greatest(abs(t.tokens), t.reserved_change)
                     when t.request ->> 'operation' = 'adjust' then t.tokens end::text,
                case when t.request ->> 'operation' in ('deduct', 'reserve', 'grant') then t.request ->> 'tokens'
                     when t.request ->> 'operation' = 'adjust' then t.request ->> 'delta' end),
     ('action_type', case when t.request ->> 'operation' in ('deduct', 'reserve', 'track') then case when t.action_type = 'hold_split' then t.reason else t.action_type end end,
                     case when t.request ->> 'operation' in ('deduct', 'reserve', 'track') then t.request ->> 'action_type' end),
     ('parent_hold', t.terms #>> '{move,from}', t.request ->> 'parent_hold'),
     ('reason', case when t.request ->> 'reason' is not null then t.reason end, t.request ->> 'reason')
   ) as differs (field, expected, found)
   where t.request is not null and differs.expected is distinct from differs.found
  union all
  -- the order of time; a minute is allowed for a clock that was set back or a standby that was behind
  select 'I7 transactions are booked in the order of time', t.user_id, null, t.id,
         'from ' || coalesce(t.at_before, '-infinity') || ' to now', t.created_at::text
    from ledger t
   where (t.created_at < t.at_before - interval '1 minute'
       or t.created_at > clock_timestamp() + interval '1 minute')
     -- except an entry that was acknowledged, as it was then
     and not exists (
       select 1 from tokenbook.acknowledged_findings f
        where f.user_id = t.user_id and (p_user_id is null or f.user_id = p_user_id) -- @acknowledged-user-only
          and f.transaction_id = t.id -- @acknowledged-entry-only
          and f.booked_at = t.created_at and f.booked_before is not distinct from t.at_before) -- @acknowledged-as-it-was
  union all
  -- actor and reason
  select 'I10 a change has an actor', t.user_id, null, t.id,
         'the user themself, an admin by their id, service or system without one',
         concat_ws(' ', t.actor_role, coalesce(t.actor_id::text, 'without an id'))
    from ledger t
   where (case t.actor_role
            when 'user' then t.actor_id = coalesce(t.member_id, t.user_id)
            when 'admin' then t.actor_id is not null
            when 'service' then t.actor_id is null
            when 'system' then t.actor_id is null
          end) is not true
  union all
  select 'I10 a change has a reason', t.user_id, null, t.id, '1 to 500 characters', coalesce(length(t.reason), 0)::text
    from ledger t
   where (length(t.reason) between 1 and 500) is not true
     -- the changes that need no reason
     and not (t.reason is null and (t.entry_type in ('grant', 'refund', 'void', 'clawback') or t.action_type in ('admin_deduct', 'upcoming_grant')))
  union all
  -- the rules of each table's rows, the same functions that its writers use
  select 'I3 a row keeps the rules of its table', a.user_id, null, null, 'token_accounts', tokenbook.broken_account_rule(row(a.*)::public.token_accounts)
    from public.token_accounts a
   where tokenbook.broken_account_rule(row(a.*)::public.token_accounts) is not null
     and (v_users is null or a.user_id = any (v_users))
  union all
  select 'I3 a row keeps the rules of its table', b.user_id, b.id, null, 'token_balances', tokenbook.broken_grant_rule(row(b.*)::public.token_balances)
    from public.token_balances b
   where tokenbook.broken_grant_rule(row(b.*)::public.token_balances) is not null
     and (v_users is null or b.user_id = any (v_users))
  union all
  select 'I3 a row keeps the rules of its table', h.user_id, null, h.transaction_id, 'token_holds', tokenbook.broken_hold_rule(row(h.*)::public.token_holds)
    from public.token_holds h
   where tokenbook.broken_hold_rule(row(h.*)::public.token_holds) is not null
     and (v_users is null or h.user_id = any (v_users))
  union all
  select 'I3 a row keeps the rules of its table', t.user_id, null, t.id, 'token_transactions', tokenbook.broken_transaction_rule(row(t.*)::public.token_transactions)
    from public.token_transactions t
   where tokenbook.broken_transaction_rule(row(t.*)::public.token_transactions) is not null
     and (v_users is null or t.user_id = any (v_users))
   order by 2, 1, 4, 3;
end
$$;
comment on function tokenbook.find_breaches is
  'The breaches of the invariants, a row each: for one user, for everyone, or for the users after p_after up to p_until.';
