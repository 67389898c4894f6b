/*
 * Counts what has become of what was sold, in the order of each user's ledger: at most a portion of entries (usage_rows of
 * tokenbook.limits), having looked at no more buyers than that. As a user's entries are numbered one after the other under
 * their lock, none comes later that is older: what is counted is counted once.
 * A deduction leaves no note that there is something new to count: each round visits the buyers one after the other. Where
 * one call can visit all of them, each report does. Where there are more, a round takes several calls, by any callers, and has
 * all that was booked before it began; for a minute after that another report needs no round of its own.
 * Another call that counts is waited for, at most two seconds.
 * On a read replica, or in a transaction that is read-only, nothing is counted: the totals are those of the last whole round.
 *
 * The tokens of a sale are one pool: each is worth the same part of what is left of its money. So after every day
 *   recognised = money * used / tokens, rounded down; recognised and breakage together = money * (used + ended) / tokens,
 *   rounded down; what is left is deferred,
 * and what is written into a day is by how much that has changed: whatever a history was, the sums are exact.
 * Used is what was deducted and not given back, what repaid a debt, and what was taken for what others had been used for.
 * Ended is what ran out, was voided, or taken by a correction. What is taken with its money (a refund, a dispute) is
 * neither; what of that had been used already is not used any more: the debt is, that others pay.
 * Caller: tokenbook.get_token_revenue.   Returns since when nothing is booked that is not counted; NULL: ask again.
 * Locks: the round, the buyers' marks.   Keeps: I11.
 */
create function tokenbook.count_sales()
returns timestamptz
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- where days begin
set plan_cache_mode = force_custom_plan
set lock_timeout = '2s'
as $$
declare
  c_portion constant integer := tokenbook.limits() -> 'usage_rows';
  c_first constant uuid := '00000000-0000-0000-0000-000000000000';
  v_now constant timestamptz := clock_timestamp();
  v_is_short constant boolean := tokenbook.buyer_after(c_first, c_portion) is null; -- one call is a whole round
  v_round tokenbook.sale_rounds;
  v_next_id uuid;
  v_user_ids uuid[];
  v_locked_ids uuid[];
  v_ends_after timestamptz; -- the clock, for a statement that many machines run
begin
  if v_is_short and not exists (select 1 from tokenbook.uncounted_sales(c_first, c_portion)) then
    -- a replica knows until when it has heard from the primary
    return case when pg_is_in_recovery() then pg_last_xact_replay_timestamp() else v_now end; -- @replicas-know-their-past
  elsif current_setting('transaction_read_only')::boolean then
    return (select r.whole_at from tokenbook.sale_rounds r);
  end if;

  -- lock: another call that counts is done in a moment
  insert into tokenbook.sale_rounds default values on conflict do nothing;
  begin
    select r.* into v_round from tokenbook.sale_rounds r where r.is_only for update; -- @one-counts
  exception
    when lock_not_available then
      return null;
  end;
  if not v_is_short and v_round.whole_at between v_now - interval '1 minute' and v_now then -- @rounds-are-soon-over
    return v_round.whole_at;
  end if;
  if v_is_short or (v_round.begun_at between v_now - interval '10 minutes' and v_now) is not true then
    v_round.begun_at := clock_timestamp();
    v_round.next_id := c_first;
  end if;

  -- the next buyers
  select array_agg(w.user_id order by w.user_id) filter (where w.before < c_portion),
         (array_agg(w.user_id order by w.user_id) filter (where w.before >= c_portion or w.entries > c_portion))[1] -- @rounds-wait
    into v_user_ids, v_next_id
    from (
      select u.user_id, u.entries, sum(u.entries) over (order by u.user_id) - u.entries as before
        from tokenbook.uncounted_sales(v_round.next_id, c_portion) u) w;
  v_locked_ids := array(
    select c.user_id from tokenbook.sale_accounts c
      join unnest(v_user_ids) as u (user_id) on u.user_id = c.user_id
     order by c.user_id for update of c skip locked); -- @marks-are-locked
  v_next_id := least(
    v_next_id,
    (select u.user_id from unnest(v_user_ids) as u (user_id) except select l.user_id from unnest(v_locked_ids) as l (user_id) order by 1 limit 1),
    tokenbook.buyer_after(v_round.next_id, c_portion));
  update tokenbook.sale_rounds r
     set begun_at = case when v_next_id is not null then v_round.begun_at end,
         next_id = v_next_id,
         whole_at = case when v_next_id is null then v_round.begun_at else r.whole_at end
   where r.is_only; -- @rounds-go-on

  v_ends_after := clock_timestamp();
  with chosen as materialized (
    select c.user_id, c.counted_id, c.changed_at, least(a.last_transaction_id, c.counted_id + c_portion) as upto_id,
           a.last_transaction_id <= c.counted_id + c_portion as is_whole
      from tokenbook.sale_accounts c
      join public.token_accounts a on a.user_id = c.user_id
      join unnest(v_locked_ids) as u (user_id) on u.user_id = c.user_id
  ), of_sales as materialized (
    select s.*, c.upto_id, c.is_whole, c.changed_at, case when s.is_counted then c.counted_id else s.since_id end as from_id,
           p.id is not null as is_payment, coalesce(p.currency, b.currency) as currency_now, p.amount_cents,
           least(p.amount_cents, p.refunded_cents + p.disputed_cents) as lost_cents
      from chosen c
      join tokenbook.sales s on s.user_id = c.user_id
      left join public.token_payments p on p.user_id = s.user_id and p.id = s.sale_id
      left join public.token_balances b on b.user_id = s.user_id and b.id = s.sale_id
     where (s.is_counted or s.since_id < c.upto_id) and coalesce(p.currency, b.currency) is not null
  ), entries as materialized (
    select t.*
      from (
        select c.user_id, c.upto_id, least(c.counted_id, f.from_id) as from_id
          from chosen c
          left join (select s.user_id, min(s.from_id) as from_id from of_sales s group by s.user_id) f on f.user_id = c.user_id) c
     cross join lateral (
       select l.user_id, l.id, l.entry_type, l.action_type, l.tokens, l.debt_change, l.grant_ids, l.grant_tokens, l.payment_id,
              l.original_id, l.terms, l.created_at
         from public.token_transactions l
        where l.user_id = c.user_id and l.id > c.from_id and l.id <= c.upto_id
          and l.entry_type not in ('usage', 'hold', 'release', 'opening_balance')) t
  ), parts as (
    select t.*, part.grant_id, part.tokens as part_tokens, b.granted_at, b.cost_basis_cents,
           coalesce(b.cost_basis_of, b.payment_id, case when b.cost_basis_cents is not null then b.id end) as sale_id
      from entries t
     cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
      join public.token_balances b on b.user_id = t.user_id and b.id = part.grant_id
  ), effects as (
    select s.user_id, s.sale_id, p.id, 0 as nth, p.created_at,
           case when p.entry_type = 'grant' then p.part_tokens else 0 end as given,
           case
             when p.entry_type = 'deduction' and p.action_type <> 'admin_deduct' then p.part_tokens
             when p.entry_type = 'refund' and p.action_type <> 'admin_deduct' then -p.part_tokens -- @undone-use-is-deferred
             when p.entry_type = 'debt_repayment' then p.part_tokens
             when p.entry_type = 'clawback' and p.payment_id is distinct from s.sale_id
               and p.terms ->> 'voids' is distinct from p.grant_id::text then p.part_tokens -- @taken-for-others
             when p.entry_type = 'restoration' and p.payment_id is distinct from s.sale_id then -p.part_tokens
             when p.entry_type = 'restatement' then -sign(p.tokens) * p.part_tokens
             else 0
           end as used,
           case
             when p.entry_type in ('expiry', 'void') then p.part_tokens
             when p.entry_type = 'deduction' and p.action_type = 'admin_deduct' then p.part_tokens
             when p.entry_type = 'refund' and p.action_type = 'admin_deduct' then -p.part_tokens
             when p.entry_type = 'clawback' and p.terms ->> 'voids' = p.grant_id::text then p.part_tokens
             when p.entry_type = 'rollover' and p.tokens > 0 and source.entry_type = 'expiry' then -p.part_tokens -- @carried-over-lives
             else 0
           end as ended,
           case
             when p.payment_id = s.sale_id and p.entry_type = 'clawback' then p.part_tokens
             when p.payment_id = s.sale_id and p.entry_type = 'restoration' then -p.part_tokens
             else 0
           end as taken_back,
           0::bigint as clawed_back, 0::bigint as lapsed,
           case when p.entry_type = 'grant' and p.grant_id = s.sale_id then p.cost_basis_cents end as amount,
           case when p.entry_type = 'grant' and p.grant_id = s.sale_id then 0::bigint end as lost,
           case when p.entry_type = 'grant' and p.action_type = 'scheduled_grant' and s.schedule is not null
                then tokenbook.slot_number(s.schedule, s.period_start, p.granted_at) + 1 else 1 end as slots
      from parts p
      join of_sales s on s.user_id = p.user_id and s.sale_id = p.sale_id and p.id > s.from_id -- @each-entry-once
      left join public.token_transactions source
        on p.entry_type = 'rollover' and source.user_id = p.user_id and source.id = p.original_id
    union all
    -- what an entry says of a payment's money, and what went with it
    select s.user_id, s.sale_id, t.id, 1, t.created_at, 0, 0, 0, 0,
           case when t.entry_type in ('clawback', 'restoration')
                then t.debt_change - t.tokens + coalesce((t.terms -> 'refund' ->> 'lapsed')::bigint, 0) else 0 end,
           coalesce((t.terms -> 'refund' ->> 'lapsed')::bigint, 0),
           coalesce((t.terms -> 'refund' ->> 'amount_cents')::bigint, (t.terms -> 'payment' ->> 'amount_cents')::bigint),
           least(
             coalesce((t.terms -> 'refund' ->> 'amount_cents')::bigint, 0),
             coalesce((t.terms -> 'refund' ->> 'refunded_cents')::bigint + (t.terms -> 'refund' ->> 'disputed_cents')::bigint, 0)),
           null
      from entries t
      join of_sales s on s.user_id = t.user_id and s.sale_id = t.payment_id and t.id > s.from_id
     where t.terms ?| array['refund', 'payment']
    union all
    -- a grant that was voided, and what was spent of it taken from elsewhere: nobody used it
    select s.user_id, s.sale_id, t.id, 2, t.created_at, 0, -x.tokens, x.tokens, 0, 0, 0, null, null, null
      from entries t
      join public.token_balances v on v.user_id = t.user_id and v.id = (t.terms ->> 'voids')::uuid
      join of_sales s on s.user_id = t.user_id and t.id > s.from_id
       and s.sale_id = coalesce(v.cost_basis_of, v.payment_id, case when v.cost_basis_cents is not null then v.id end)
     cross join lateral (
       select t.debt_change - t.tokens - coalesce(sum(own.tokens) filter (where own.grant_id = v.id), 0)::bigint as tokens
         from unnest(t.grant_ids, t.grant_tokens) as own (grant_id, tokens)) x
     where t.entry_type = 'clawback' and t.payment_id is null and t.terms ? 'voids'
    union all
    -- a paid period that is over: what it did not give it will not give
    select s.user_id, s.sale_id, s.upto_id, 3, s.period_end, 0, 0, 0, 0, 0, 0, null, null, s.slots_in_all
      from of_sales s
     where s.is_whole and s.period_end <= clock_timestamp() and s.slots_counted < s.slots_in_all -- @periods-that-are-over
    union all
    -- what is known of the money now, where no entry says it
    select s.user_id, s.sale_id, s.upto_id, 4,
           greatest(s.changed_at, newest.created_at), 0, 0, 0, 0, 0, 0, s.amount_cents, s.lost_cents, null
      from of_sales s
      left join (select t.user_id, max(t.created_at) as created_at from entries t group by t.user_id) newest on newest.user_id = s.user_id
     where s.is_whole and s.is_payment and s.changed_at is not null -- @money-as-it-is
  ), days as (
    select e.user_id, e.sale_id, date_trunc('day', e.created_at) as starts_at, sum(e.given) as given, sum(e.used) as used,
           sum(e.ended) as ended, sum(e.taken_back) as taken_back, sum(e.clawed_back) as clawed_back, sum(e.lapsed) as lapsed,
           (array_agg(e.amount order by e.id desc, e.nth desc) filter (where e.amount is not null))[1] as amount,
           (array_agg(e.lost order by e.id desc, e.nth desc) filter (where e.amount is not null))[1] as lost,
           max(e.slots) as slots
      from effects e
     group by e.user_id, e.sale_id, date_trunc('day', e.created_at)
  ), running as (
    select s.user_id, s.sale_id, d.starts_at, s.currency_now, s.slots_in_all,
           s.tokens_given + sum(d.given) over so_far as given, s.tokens_used + sum(d.used) over so_far as used,
           s.tokens_ended + sum(d.ended) over so_far as ended, s.tokens_taken_back + sum(d.taken_back) over so_far as taken_back,
           s.tokens_clawed_back + sum(d.clawed_back) over so_far as clawed_back, s.tokens_lapsed + sum(d.lapsed) over so_far as lapsed,
           greatest(s.slots_counted, max(d.slots) over so_far) as slots,
           s.sold_cents as sold_before, s.refunded_cents as refunded_before,
           array_agg(array[d.amount, d.lost]) filter (where d.amount is not null) over so_far as money,
           case when s.currency = s.currency_now then array[s.sold_cents, s.refunded_cents, s.recognised_cents, s.breakage_cents]
                else '{0,0,0,0}' end as counted
      from days d
      join of_sales s on s.user_id = d.user_id and s.sale_id = d.sale_id
    window so_far as (partition by d.user_id, d.sale_id order by d.starts_at)
  ), standings as (
    select r.*, m.sold, m.lost, q.recognised, q.either - q.recognised as breakage,
           row_number() over (partition by r.user_id, r.sale_id order by r.starts_at desc) = 1 as is_last
      from running r
     cross join lateral (
       select coalesce(r.money[array_length(r.money, 1)][1], r.sold_before) as sold,
              coalesce(r.money[array_length(r.money, 1)][2], r.refunded_before) as lost) m
     cross join lateral (
       select greatest(r.used - (r.clawed_back - r.taken_back - r.lapsed), 0) as used, -- @clawed-back-unused
              greatest(r.ended - r.lapsed, 0) as ended,
              greatest(r.given - r.used - r.ended - r.taken_back, 0) as unspent,
              case when r.slots < r.slots_in_all then floor((m.sold - m.lost)::numeric * r.slots / r.slots_in_all) -- @slot-is-a-share
                   else m.sold - m.lost end as money) n
     cross join lateral (
       select case when n.used + n.ended + n.unspent > 0 then floor(n.money * n.used / (n.used + n.ended + n.unspent)) else 0 end as recognised,
              case when n.used + n.ended + n.unspent > 0
                   then floor(n.money * (n.used + n.ended) / (n.used + n.ended + n.unspent)) else n.money end as either) q
  ), changes as (
    select s.starts_at, s.currency_now as currency,
           s.sold - lag(s.sold, 1, s.counted[1]) over by_day as sold, s.lost - lag(s.lost, 1, s.counted[2]) over by_day as refunded,
           s.recognised - lag(s.recognised, 1, s.counted[3]::numeric) over by_day as recognised,
           s.breakage - lag(s.breakage, 1, s.counted[4]::numeric) over by_day as breakage
      from standings s
    window by_day as (partition by s.user_id, s.sale_id order by s.starts_at)
    union all
    -- what was counted in another currency
    select d.starts_at, s.currency, -s.sold_cents, -s.refunded_cents, -s.recognised_cents, -s.breakage_cents
      from of_sales s
      join (select d.user_id, d.sale_id, min(d.starts_at) as starts_at from days d group by d.user_id, d.sale_id) d
        on d.user_id = s.user_id and d.sale_id = s.sale_id
     where s.currency <> s.currency_now -- @never-of-two-currencies
  ), added as (
    insert into tokenbook.revenue_totals as n (starts_at, currency, sold_cents, refunded_cents, recognised_cents, breakage_cents)
    select c.starts_at, c.currency, sum(c.sold), sum(c.refunded), sum(c.recognised), sum(c.breakage)
      from changes c
     group by c.starts_at, c.currency
     order by c.starts_at, c.currency
    on conflict on constraint revenue_totals_pkey do update
       set sold_cents = n.sold_cents + excluded.sold_cents,
           refunded_cents = n.refunded_cents + excluded.refunded_cents,
           recognised_cents = n.recognised_cents + excluded.recognised_cents,
           breakage_cents = n.breakage_cents + excluded.breakage_cents
  ), kept as (
    update tokenbook.sales s
       set is_counted = true, slots_counted = n.slots, currency = n.currency_now, sold_cents = n.sold, refunded_cents = n.lost,
           recognised_cents = n.recognised, breakage_cents = n.breakage, tokens_given = n.given, tokens_used = n.used,
           tokens_ended = n.ended, tokens_taken_back = n.taken_back, tokens_clawed_back = n.clawed_back, tokens_lapsed = n.lapsed
      from standings n
     where n.is_last and s.user_id = n.user_id and s.sale_id = n.sale_id
  )
  update tokenbook.sale_accounts c
     set counted_id = d.upto_id,
         changed_at = case when d.is_whole then null else c.changed_at end,
         next_end_at = case when d.is_whole then (
           select min(s.period_end) from tokenbook.sales s where s.user_id = c.user_id and s.period_end > v_ends_after) else c.next_end_at end
    from chosen d
   where c.user_id = d.user_id;
  return case when v_next_id is null then v_round.begun_at end;
end
$$;
comment on function tokenbook.count_sales is
  'Counts the next portion of what has become of what was sold, for get_token_revenue. Returns the moment before which all that is booked is counted; NULL where there is more to count.';

/*
 * Of the next p_many buyers from p_from on, those with sales that are not counted in full, and how many entries
 * there are to look at.
 * Caller: internal.
 */
create function tokenbook.uncounted_sales(p_from uuid, p_many integer)
returns table (user_id uuid, entries bigint)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select c.user_id, a.last_transaction_id - c.counted_id
    from (select b.* from tokenbook.sale_accounts b where b.user_id >= p_from order by b.user_id limit p_many) c
    join public.token_accounts a on a.user_id = c.user_id
   where (a.last_transaction_id > c.counted_id or c.changed_at is not null or c.next_end_at <= clock_timestamp())
     and a.state in ('active', 'frozen') -- @sold-where-they-are
$$;
comment on function tokenbook.uncounted_sales is
  'Of the next p_many buyers from p_from on, those with sales that are not counted in full, and how many entries there are to look at.';

-- The buyer after the next p_many from p_from on; NULL = none. Caller: internal.
create function tokenbook.buyer_after(p_from uuid, p_many integer)
returns uuid
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select c.user_id from tokenbook.sale_accounts c where c.user_id >= p_from order by c.user_id offset p_many limit 1
$$;
comment on function tokenbook.buyer_after is
  'The buyer after the next p_many from p_from on; NULL = nobody.';
