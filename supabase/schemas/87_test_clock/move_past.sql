/*
 * Moves a user's whole past back: every moment of every row of theirs, those in JSON too, so that what was to come in
 * that time has come. There is one clock for everybody; to this user's books it is as if it had been set forward.
 * Books nothing. As the columns are looked up in the catalogue, a new one is moved as well.
 * Not moved is what is of others: what a payment provider said (by its own clock), what waits to be sent to an endpoint
 * (by the real one), and reports of migrations. Counted anew is what is counted by the calendar's hours, days, weeks and
 * months: of the user and, where they pay for a team, of its members.
 * Changes the append-only ledger, which the trigger lets through for this; a checkpoint would show it as changed.
 * Caller: internal; nobody may execute it but the owner of the database.   Locks: the account.
 */
create function tokenbook.move_past(p_user_id uuid, p_by interval)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  c_not_moved constant text[] := array[
    'provider_customers', 'provider_payments', 'provider_subscriptions', 'webhook_deliveries',
    'archived_profile_counters', 'cleared_token_balances', 'test_users', 'usage_marks', 'usage_totals', 'archived_usage'];
  v_move_id constant uuid := gen_random_uuid();
  v_table record;
  v_by interval;
begin
  perform tokenbook.lock_account(p_user_id);
  perform set_config('tokenbook.moving_past', 'yes', true); -- what keep_ledger_append_only lets through
  for v_table in
    select c.oid::regclass as name,
           string_agg(format('%1$I = t.%1$I - $2', a.attname), ', ') as moved,
           exists (
             select 1 from pg_index i
              where i.indrelid = c.oid and i.indisunique and i.indkey::smallint[] && array_agg(a.attnum)) as is_unique
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.atttypid = 'timestamptz'::regtype and not a.attisdropped -- @each-moment-moves
     where c.relkind in ('r', 'p') and not c.relispartition
       and (c.relnamespace = 'tokenbook'::regnamespace and c.relname <> all (c_not_moved)
         or c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations()))
       and exists (
         select 1 from pg_attribute u where u.attrelid = c.oid and u.attname = 'user_id' and not u.attisdropped)
     group by c.oid
     order by c.oid
  loop
    -- under a unique key on a moment, in two steps, far ahead and back: or a row could meet another's old moment
    foreach v_by in array case when v_table.is_unique then array[p_by + interval '1000000 days', interval '-1000000 days'] else array[p_by] end
    loop
      execute format('update %s t set %s where t.user_id = $1', v_table.name, v_table.moved) using p_user_id, v_by;
    end loop;
  end loop;

  update public.token_transactions t
     set terms = tokenbook.moved_moments(t.terms, p_by, v_move_id) -- @terms-move-too
   where t.user_id = p_user_id and t.terms is not null;
  -- of metadata what the books wrote themselves
  update public.token_transactions t
     set metadata = t.metadata || tokenbook.moved_moments((
           select jsonb_object_agg(m.key, m.value)
             from jsonb_each(t.metadata) m where m.key in ('expires_at', 'effective_at', 'period_start')), p_by, v_move_id)
   where t.user_id = p_user_id
     and (t.terms ? 'voids' or t.entry_type = 'rollover' or t.action_type = 'plan_change' and t.usage_id is null)
     and t.metadata ?| array['expires_at', 'effective_at', 'period_start'];
  update public.token_balances b
     set metadata = tokenbook.moved_moments(b.metadata, p_by, v_move_id)
   where b.user_id = p_user_id and b.rolled_over_from is not null;
  update tokenbook.subscriptions s
     set schedule = tokenbook.moved_moments(jsonb_build_object('schedule', s.schedule), p_by, v_move_id) -> 'schedule'
   where s.user_id = p_user_id and s.schedule is not null;
  update tokenbook.subscriptions s
     set beside = tokenbook.moved_moments(s.beside, p_by, v_move_id)
   where s.user_id = p_user_id and s.beside <> '[]';
  update tokenbook.sales s
     set schedule = tokenbook.moved_moments(jsonb_build_object('schedule', s.schedule), p_by, v_move_id) -> 'schedule'
   where s.user_id = p_user_id and s.schedule is not null;
  update public.token_payments p
     set terms = tokenbook.moved_moments(p.terms, p_by, v_move_id)
   where p.user_id = p_user_id;
  update public.token_alerts a
     set payload = tokenbook.moved_moments(a.payload, p_by, v_move_id)
   where a.user_id = p_user_id;
  update tokenbook.changes c
     set details = tokenbook.moved_moments(c.details, p_by, v_move_id)
   where c.user_id = p_user_id;
  perform set_config('tokenbook.moving_past', '', true); -- @moved-and-no-longer

  -- what is counted by days, weeks and months
  with spent as (
    select t.member_id, t.reserved_change - t.tokens + t.debt_change as tokens, tokenbook.spending_time(row(t.*)::public.token_transactions) as at, t.created_at,
           t.entry_type in ('deduction', 'hold', 'release', 'refund') and t.action_type <> 'admin_deduct' as counts
      from public.token_transactions t
     where t.user_id = p_user_id and t.entry_type not in ('opening_balance', 'expiry')
  ), latest as (
    select s.member_id, grouping(s.member_id) = 1 as is_account, max(s.created_at) as at
      from spent s
     group by grouping sets ((), (s.member_id))
  ), counted as (
    select l.member_id, l.is_account, l.at,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('day', l.at, 'UTC')), 0) as in_day,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('week', l.at, 'UTC')), 0) as in_week,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('month', l.at, 'UTC')), 0) as in_month
      from latest l
      left join spent s on s.counts and (l.is_account or s.member_id = l.member_id)
     group by l.member_id, l.is_account, l.at
  ), members as (
    update public.token_team_members m
       set spent_at = c.at, spent_day = c.in_day, spent_week = c.in_week, spent_month = c.in_month
      from counted c
     where m.user_id = p_user_id and m.member_id = c.member_id and not c.is_account
  )
  update public.token_accounts a
     set spent_at = c.at, spent_day = c.in_day, spent_week = c.in_week, spent_month = c.in_month
    from counted c
   where a.user_id = p_user_id and c.is_account;

  -- what was counted as sold is taken out of today, and counted again by the days that it is of now
  insert into tokenbook.revenue_totals as n (starts_at, currency, sold_cents, refunded_cents, recognised_cents, breakage_cents)
  select date_trunc('day', clock_timestamp()), s.currency, -sum(s.sold_cents), -sum(s.refunded_cents), -sum(s.recognised_cents),
         -sum(s.breakage_cents)
    from tokenbook.sales s
   where s.user_id = p_user_id and s.is_counted
   group by s.currency
  on conflict on constraint revenue_totals_pkey do update
     set sold_cents = n.sold_cents + excluded.sold_cents,
         refunded_cents = n.refunded_cents + excluded.refunded_cents,
         recognised_cents = n.recognised_cents + excluded.recognised_cents,
         breakage_cents = n.breakage_cents + excluded.breakage_cents;
  update tokenbook.sales s
     set is_counted = false, slots_counted = 0, sold_cents = 0, refunded_cents = 0, recognised_cents = 0, breakage_cents = 0,
         tokens_given = 0, tokens_used = 0, tokens_ended = 0, tokens_taken_back = 0, tokens_clawed_back = 0, tokens_lapsed = 0
   where s.user_id = p_user_id;
  update tokenbook.sale_accounts c set changed_at = coalesce(c.changed_at, clock_timestamp()) where c.user_id = p_user_id;

  -- what reports have counted of these uses, they count again; everyone's too
  if exists (select 1 from public.token_usage u where u.user_id = p_user_id) then
    delete from tokenbook.usage_marks m
     where m.user_id in (
       select u.member_id from public.token_usage u where u.user_id = p_user_id
       union all values (p_user_id), ('00000000-0000-0000-0000-000000000000'));
    delete from tokenbook.usage_totals n
     where not exists (select 1 from tokenbook.usage_marks m where m.user_id = n.user_id);
  end if;
end
$$;
comment on function tokenbook.move_past is
  'Moves every moment of a user''s rows back, and counts anew what is counted by the calendar; books nothing. For advance_test_clock.';
