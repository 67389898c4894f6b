/*
 * What an account is due now by the schedule of its plan, and has not been booked: for the view token_counters, which
 * reads with its caller's rights. Of somebody else a user is told 0.
 * Caller: whoever reads token_counters.
 */
-- Security definer: what is due depends on whether there still is such a user, which clients may not ask.
create function tokenbook.slot_tokens_due(p_user_id uuid)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('role') = 'authenticated' and auth.uid() is distinct from p_user_id and not tokenbook.is_admin() then
    return 0;
  end if;
  return coalesce((
    select sum((d.slot).tokens_remaining) from tokenbook.due_slots(p_user_id, clock_timestamp()) d), 0);
end
$$;
comment on function tokenbook.slot_tokens_due is
  'What an account is due now by the schedule of its plan, and has not been booked; of somebody else 0.';
