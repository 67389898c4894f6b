/*
 * Brings a user's subscription up to date: books what its schedule gave while the plan was in force, and then records what
 * is due of the plan itself (tokenbook.record_subscription). For calls that touch the account and read its plan.
 * Caller: internal.   Locks: the account.   Keeps: I9, I10.
 */
create function tokenbook.settle_subscription(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.lock_account(p_user_id);
  if tokenbook.plan_due_at(p_user_id) <= clock_timestamp() then
    perform tokenbook.record_expiries(array[p_user_id], clock_timestamp(), p_in_portions => true);
  end if;
  perform tokenbook.record_subscription(p_user_id, clock_timestamp());
end
$$;
comment on function tokenbook.settle_subscription is
  'Books what the schedule of a user''s plan gave, and records what is due of their subscription.';
