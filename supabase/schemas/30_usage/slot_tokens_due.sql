/*
 * What an account is due now by the schedule of its plan and of grants to come, and has not been booked: for the view token_counters, which
 * reads with its caller's rights. A user is told 0 of somebody else, and a caller who is not signed in is told 0 of everybody.
 * Caller: readers of token_counters.
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
  if not tokenbook.is_asked_of_own(p_user_id) then
    return 0; -- @dues-of-ones-own
  end if;
  return coalesce((
    select sum(d.tokens_remaining) from tokenbook.due_grants(p_user_id, clock_timestamp()) d), 0);
end
$$;
comment on function tokenbook.slot_tokens_due is
  'What an account is due now by the schedule of its plan and of grants to come, and has not been booked; of somebody else 0.';
