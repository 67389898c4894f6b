/*
 * When the schedules of a user's plans make their account due: when the next slot begins of one, or when another plan takes
 * its place that has a schedule. NULL = never; a frozen account and one whose user was deleted get nothing.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.schedule_due_at(p_user_id uuid)
returns timestamptz
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz;
begin
  select least(
           tokenbook.slots_begin_at(s),
           case when s.ended_at is null and exists (
             select from public.token_plans p
              where p.plan_type = s.next_plan_type and tokenbook.begins_by_itself(p) and p.issue_every is not null)
             then s.expires_at end,
           case when s.ended_at is null and exists (
             select from jsonb_array_elements(s.beside) as e (plan)
              where jsonb_typeof(e.plan -> 'schedule') = 'object' and e.plan ->> 'payment_id' is null)
             then tokenbook.plan_ends_at(s) end)
    into v_at
    from tokenbook.subscriptions s
    join public.token_accounts a on a.user_id = s.user_id
   where s.user_id = p_user_id and a.state = 'active'
     and (num_nonnulls(s.next_slot_at, s.next_plan_type) > 0 or s.beside <> '[]');
  return case when v_at is not null and tokenbook.is_user(p_user_id) then v_at end;
end
$$;
comment on function tokenbook.schedule_due_at is
  'When the schedule of a user''s plan makes their account due; NULL = never.';
