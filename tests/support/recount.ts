/** What was spent in the present day, week and month, counted anew: for tests that move a user's past. */

/**
 * Makes `<schema>.recount_spending(p_user_ids uuid[], p_now timestamptz)`, which counts from the ledger
 * what `tokenbook.record_transaction` keeps count of, for users and the members of their teams.
 */
export const recountSpending = (schema: string) => `
create or replace function ${schema}.recount_spending(p_user_ids uuid[], p_now timestamptz)
returns void language plpgsql as $recount$
begin
  with spent as (
    select t.user_id, t.member_id, t.reserved_change - t.tokens as tokens, tokenbook.spending_time(t) as at
      from public.token_transactions t
     where t.user_id = any (p_user_ids)
       and t.created_at >= least(date_trunc('month', p_now, 'UTC'), date_trunc('week', p_now, 'UTC'))
       and t.entry_type in ('deduction', 'hold', 'release', 'refund') and t.action_type <> 'admin_deduct'
  ), counted as (
    select s.user_id, s.member_id, grouping(s.member_id) = 1 as is_account,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('day', p_now, 'UTC')), 0) as in_day,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('week', p_now, 'UTC')), 0) as in_week,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('month', p_now, 'UTC')), 0) as in_month
      from spent s
     group by grouping sets ((s.user_id), (s.user_id, s.member_id))
  ), members as (
    update public.token_team_members m
       set spent_at = p_now, spent_day = coalesce(c.in_day, 0), spent_week = coalesce(c.in_week, 0), spent_month = coalesce(c.in_month, 0)
      from public.token_team_members of
      left join counted c on c.user_id = of.user_id and c.member_id = of.member_id and not c.is_account
     where m.user_id = any (p_user_ids) and of.user_id = m.user_id and of.member_id = m.member_id
  )
  update public.token_accounts a
     set spent_at = p_now, spent_day = coalesce(c.in_day, 0), spent_week = coalesce(c.in_week, 0), spent_month = coalesce(c.in_month, 0)
    from unnest(p_user_ids) as asked (user_id)
    left join counted c on c.user_id = asked.user_id and c.is_account
   where a.user_id = asked.user_id;
end
$recount$;`;
