/*
 * When the plans of a user make their account due: when the next slot begins of one, when the plan in force is over, or
 * when the next one begins that costs nothing. NULL = never; a frozen account and one whose user was deleted get nothing,
 * and are not told of anything.
 * Once it is recorded (tokenbook.record_subscription), it is due no more.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.plan_due_at(p_user_id uuid)
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
           tokenbook.slots_begin_at(row(s.*)::tokenbook.subscriptions),
           case when s.ended_at is null then tokenbook.plan_ends_at(row(s.*)::tokenbook.subscriptions) end, -- @ends-are-due
           case when s.ended_at is null and s.next_plan_type is not null
             and (s.expires_at > clock_timestamp() -- the catalogue is asked when it comes to it
               or (tokenbook.plan_after(row(s.*)::tokenbook.subscriptions)).plan_type is not null)
             then s.expires_at end)
    into v_at
    from tokenbook.subscriptions s
    join public.token_accounts a on a.user_id = p_user_id
   where s.user_id = p_user_id and a.state = 'active';
  return case when v_at is not null and tokenbook.is_user(p_user_id) then v_at end;
end
$$;
comment on function tokenbook.plan_due_at is
  'When a user''s plans make their account due: a slot begins, or the plan in force ends or gives way to the next; NULL = never.';
