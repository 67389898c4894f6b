/*
 * Notes that something was sold, once: a payment, or a grant whose cost basis was said, whose tokens appear in the ledger
 * after the entry p_since_id. p_period is the plan that a payment is of, which may give its tokens over time.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.note_sale(
  p_user_id uuid,
  p_sale_id uuid,
  p_since_id bigint,
  p_period tokenbook.subscriptions default null
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_scheduled constant boolean := p_period.schedule is not null and p_period.expires_at is not null;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  insert into tokenbook.sales (user_id, sale_id, since_id, schedule, period_start, period_end, slots_in_all, slots)
  select p_user_id, p_sale_id, p_since_id, s.schedule, s.period_start, s.expires_at,
         tokenbook.slot_number(s.schedule, s.period_start, s.expires_at - interval '1 microsecond') + 1,
         coalesce(tokenbook.slot_number(
           s.schedule, s.period_start, least(p_period.next_slot_at, s.expires_at) - interval '1 microsecond') + 1, 1)
    from (select case when v_is_scheduled then p_period.schedule end as schedule,
                 case when v_is_scheduled then p_period.period_start end as period_start,
                 case when v_is_scheduled then p_period.expires_at end as expires_at) s
  on conflict do nothing;
  v_at := clock_timestamp();
  insert into tokenbook.sale_accounts as c (user_id, counted_id, changed_at, next_end_at)
  values (p_user_id, p_since_id, v_at, case when v_is_scheduled then p_period.expires_at end)
  on conflict on constraint sale_accounts_pkey do update
     set changed_at = excluded.changed_at, next_end_at = least(c.next_end_at, excluded.next_end_at);
end
$$;
comment on function tokenbook.note_sale is
  'Notes that something was sold, once: a payment, or a grant whose cost basis was said.';
