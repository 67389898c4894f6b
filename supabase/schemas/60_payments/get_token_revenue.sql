/*
 * What was sold, and what became of it, by day, month or all together (UTC, whole ones), each currency by itself: what
 * was used of it (recognised), what ended unused (breakage), what went back, and what is still owed (deferred).
 * opening deferred + sold - refunded - recognised - breakage = closing deferred, to the cent.
 * The ledger is counted by portions (tokenbook.count_sales); until that has come to its end the answer is busy.
 * Caller: an admin, service_role.   Locks: nothing that a use needs.   Errors: not_authenticated, forbidden,
 * invalid_report, busy, read_only.   Keeps: I11.
 */
-- Security definer: an admin reads other users' rows, and callers have no write access to the totals.
create function tokenbook.get_token_revenue(
  p_from timestamptz default null,
  p_to timestamptz default null,
  p_bucket text default 'day'
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- where days begin
as $$
declare
  c_rows constant integer := tokenbook.limits() -> 'report_rows';
  v_unit constant text := case p_bucket when 'all' then 'day' else p_bucket end;
  v_from timestamptz;
  v_to timestamptz;
  v_fault jsonb;
  v_as_of timestamptz;
  v_rows jsonb;
  v_totals jsonb;
begin
  -- validate
  perform tokenbook.authorize_operator();
  v_to := coalesce(p_to, clock_timestamp());
  v_from := coalesce(p_from, v_to - interval '30 days');
  v_fault := case
    when p_bucket is null or p_bucket not in ('day', 'month', 'all')
      then '{"field": "p_bucket", "rule": "day, month or all"}'
    when not (v_from >= '1900-01-01' and v_from < v_to and v_to < '2200-01-01')
      then '{"field": "p_from", "rule": "before p_to, both of 1900 to 2199"}'
    when v_to - v_from > make_interval(days => case p_bucket when 'day' then 400 else 4000 end)
      then '{"field": "p_from", "rule": "at most 400 days before p_to, by month or all together 4000"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_report', v_fault);
  end if;
  v_from := date_trunc(v_unit, v_from);
  if date_trunc(v_unit, v_to) < v_to then
    v_to := date_trunc(v_unit, v_to) + ('1 ' || v_unit)::interval;
  end if;

  -- what is not counted yet
  v_as_of := tokenbook.count_sales();
  if v_as_of is null and current_setting('transaction_read_only')::boolean then
    perform tokenbook.refuse('read_only', '{}');
  elsif v_as_of is null then
    return tokenbook.answer_busy();
  end if;

  -- answer
  with buckets as (
    select case when t.starts_at < v_from then '-infinity' when p_bucket = 'all' then v_from else date_trunc(v_unit, t.starts_at) end as starts_at,
           t.currency, sum(t.sold_cents) as sold, sum(t.refunded_cents) as refunded, sum(t.recognised_cents) as recognised,
           sum(t.breakage_cents) as breakage
      from tokenbook.revenue_totals t
     where t.starts_at < v_to
     group by 1, 2
  ), standing as (
    select b.*, sum(b.sold - b.refunded - b.recognised - b.breakage) over (partition by b.currency order by b.starts_at) as closing
      from buckets b
  ), lines as (
    select s.*, s.closing - (s.sold - s.refunded - s.recognised - s.breakage) as opening
      from standing s
     where s.starts_at >= v_from
     order by s.starts_at, s.currency
     limit c_rows + 1
  )
  select (select coalesce(jsonb_agg(
            jsonb_build_object(
              'starts_at', l.starts_at, 'currency', l.currency, 'opening_deferred_cents', l.opening, 'sold_cents', l.sold,
              'refunded_cents', l.refunded, 'recognised_cents', l.recognised, 'breakage_cents', l.breakage,
              'closing_deferred_cents', l.closing)
            order by l.starts_at, l.currency), '[]') from lines l),
         (select coalesce(jsonb_agg(
            jsonb_build_object(
              'currency', a.currency, 'opening_deferred_cents', a.opening, 'sold_cents', a.sold, 'refunded_cents', a.refunded,
              'recognised_cents', a.recognised, 'breakage_cents', a.breakage,
              'closing_deferred_cents', a.opening + a.sold - a.refunded - a.recognised - a.breakage)
            order by a.currency), '[]')
            from (
              select s.currency,
                     coalesce(sum(s.sold - s.refunded - s.recognised - s.breakage) filter (where s.starts_at < v_from), 0) as opening,
                     coalesce(sum(s.sold) filter (where s.starts_at >= v_from), 0) as sold,
                     coalesce(sum(s.refunded) filter (where s.starts_at >= v_from), 0) as refunded,
                     coalesce(sum(s.recognised) filter (where s.starts_at >= v_from), 0) as recognised,
                     coalesce(sum(s.breakage) filter (where s.starts_at >= v_from), 0) as breakage
                from standing s
               group by s.currency) a)
    into v_rows, v_totals;
  if jsonb_array_length(v_rows) > c_rows then
    perform tokenbook.refuse('invalid_report', jsonb_build_object(
      'field', 'p_from', 'rule', format('closer to p_to, or p_bucket wider: a report has at most %s rows', c_rows)));
  end if;
  return jsonb_build_object('bucket', p_bucket, 'from', v_from, 'to', v_to, 'as_of', v_as_of, 'rows', v_rows, 'totals', v_totals);
end
$$;
comment on function tokenbook.get_token_revenue is
  'What was sold from p_from to p_to, and what became of it, in whole buckets (p_bucket day, month, all; UTC), each currency by itself. For an admin or the server. Left out: the last 30 days, by day; at most 400 days by day, 4000 else. Sold: payments and grants with a cost basis. Recognised: the part of that money whose tokens were used; breakage: whose tokens ran out, were voided or corrected away; refunded: what went back or is withheld by disputes, less what came back; deferred: the rest, still owed in tokens. Opening deferred + sold - refunded - recognised - breakage = closing deferred. Returns {bucket, from, to, as_of (all that was booked before is counted), rows: [{starts_at, currency, opening_deferred_cents, sold_cents, refunded_cents, recognised_cents, breakage_cents, closing_deferred_cents}] (where something changed), totals: [the same of all of that time, without starts_at]}. What came in when the books opened has no known cost and is in none of these. busy: more is to be counted than one call does; ask again. A read replica counts nothing: as_of is then when that was last done, read_only that it never was. Errors: invalid_report, forbidden, busy, read_only.';
