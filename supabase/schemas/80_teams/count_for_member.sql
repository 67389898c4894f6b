/*
 * Counts what a member of a team used, and spent or set aside, with the payer: into the day, the week and the month in
 * which it was taken (p_spending_time), if they are those of the entry.
 * Caller: internal, with the entry.   Keeps: I2.
 */
create function tokenbook.count_for_member(
  p_user_id uuid,
  p_member_id uuid,
  p_used bigint,
  p_spent bigint,
  p_spending_time timestamptz,
  p_created_at timestamptz
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day constant timestamptz := date_trunc('day', p_created_at, 'UTC');
  v_week constant timestamptz := date_trunc('week', p_created_at, 'UTC');
  v_month constant timestamptz := date_trunc('month', p_created_at, 'UTC');
begin
  update public.token_team_members m
     set tokens_used = m.tokens_used + p_used,
         spent_at = greatest(m.spent_at, p_created_at),
         spent_day = case when m.spent_at >= v_day then m.spent_day else 0 end
           + case when p_spending_time >= v_day then p_spent else 0 end,
         spent_week = case when m.spent_at >= v_week then m.spent_week else 0 end
           + case when p_spending_time >= v_week then p_spent else 0 end,
         spent_month = case when m.spent_at >= v_month then m.spent_month else 0 end
           + case when p_spending_time >= v_month then p_spent else 0 end
   where m.user_id = p_user_id and m.member_id = p_member_id;
end
$$;
comment on function tokenbook.count_for_member is
  'Counts what a member of a team used and spent, with the payer, into the day, week and month in which it was taken.';
