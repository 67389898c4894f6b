/** What moves with a user's past when a test moves it, beside its moments. */

/**
 * Makes `<schema>.follow_the_past(p_user_id uuid, p_by interval)`, for after every moment of a user's books was
 * moved `p_by` back: moves what the ledger keeps of those moments too, and counts from it what
 * `tokenbook.record_transaction` keeps count of, for the user and the members of their team.
 */
export const followThePast = (schema: string) => `
create or replace function ${schema}.moved(p_row jsonb, p_by interval, variadic p_moments text[])
returns jsonb language sql as $moved$
  select p_row || coalesce((
    select jsonb_object_agg(m, ((p_row ->> m)::timestamptz - p_by)) from unnest(p_moments) m where p_row ? m), '{}')
$moved$;
create or replace function ${schema}.moved_plan(p_row jsonb, p_by interval)
returns jsonb language sql as $moved$
  select ${schema}.moved(p_row, p_by, 'period_start', 'expires_at', 'next_slot_at', 'cancel_at', 'paused_at', 'taken_back_at', 'ended_at', 'created_at')
    || case when p_row ? 'beside' then jsonb_build_object('beside', (
         select coalesce(jsonb_agg(
                  ${schema}.moved(e.plan, p_by, 'period_start', 'expires_at', 'next_slot_at', 'cancel_at', 'paused_at', 'taken_back_at') order by e.nth), '[]')
           from jsonb_array_elements(p_row -> 'beside') with ordinality as e (plan, nth))) else '{}' end
$moved$;
create or replace function ${schema}.follow_the_past(p_user_id uuid, p_by interval)
returns void language plpgsql as $follow$
declare
  v_id text := (select s.id from tokenbook.subscriptions s where s.user_id = p_user_id);
  v_new text := gen_random_uuid();
begin
  -- the grant of a slot has its id from the subscription and the moment: what is given at that moment now is another
  if exists (select from public.token_transactions t where t.user_id = p_user_id and t.action_type = 'scheduled_grant') then
    update tokenbook.subscriptions s set id = v_new::uuid where s.user_id = p_user_id;
    update public.token_balances b set subscription_id = v_new::uuid where b.user_id = p_user_id and b.subscription_id::text = v_id;
    update public.token_storage_quotas q set subscription_id = v_new::uuid where q.user_id = p_user_id and q.subscription_id::text = v_id;
    update public.token_transactions t
       set terms = replace(t.terms::text, v_id, v_new)::jsonb where t.user_id = p_user_id and t.terms is not null;
  end if;
  update public.token_transactions t
     set terms = t.terms
           || case when t.terms ? 'grants' then jsonb_build_object('grants', (
                select coalesce(jsonb_agg(${schema}.moved(g, p_by, 'granted_at', 'expires_at', 'period_start', 'created_at')), '[]')
                  from jsonb_array_elements(t.terms -> 'grants') g)) else '{}' end
           || case when t.terms ? 'upcoming' then jsonb_build_object('upcoming',
                ${schema}.moved(t.terms -> 'upcoming', p_by, 'granted_at', 'expires_at')) else '{}' end
           || case when t.terms ? 'expiry' then jsonb_build_object('expiry', (
                select jsonb_object_agg(e.key, case when e.key = 'grant_id' then e.value
                         else to_jsonb((((e.value #>> '{}')::timestamptz - p_by) at time zone 'utc')::text || 'Z') end)
                  from jsonb_each(t.terms -> 'expiry') e)) else '{}' end
           || case when t.terms ? 'subscription' then jsonb_build_object('subscription',
                ${schema}.moved_plan(t.terms -> 'subscription', p_by)) else '{}' end
           || case when t.terms ? 'standing' then jsonb_build_object('standing',
                ${schema}.moved_plan(t.terms -> 'standing', p_by)) else '{}' end
           || case when t.terms ? 'slots' then jsonb_build_object('slots',
                ${schema}.moved(t.terms -> 'slots', p_by, 'first', 'period_start', 'until')) else '{}' end
   where t.user_id = p_user_id and t.terms is not null;
  update public.token_transactions t
     set metadata = t.metadata || jsonb_build_object(
           'expires_at', (((t.metadata ->> 'expires_at')::timestamptz - p_by) at time zone 'utc')::text || 'Z')
   where t.user_id = p_user_id and t.terms ? 'voids' and t.metadata ? 'expires_at';
  update public.token_transactions t
     set metadata = ${schema}.moved(t.metadata, p_by, 'effective_at')
   where t.user_id = p_user_id and t.action_type = 'plan_change' and t.metadata ? 'effective_at';

  update tokenbook.upcoming_grants u set starts_at = u.starts_at - p_by where u.user_id = p_user_id;
  update tokenbook.subscriptions s
     set beside = ${schema}.moved_plan(to_jsonb(s), p_by) -> 'beside'
   where s.user_id = p_user_id;

  with spent as (
    select t.member_id, t.reserved_change - t.tokens as tokens, tokenbook.spending_time(t) as at, t.created_at,
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
end
$follow$;`;
