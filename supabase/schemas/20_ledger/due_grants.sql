/*
 * What an account is due at p_at and has not been booked yet, one row a grant that can be spent then: what the schedules
 * of its plans give (tokenbook.due_slots), and what was to begin by then (tokenbook.grants_to_begin) and has not run out
 * since. For callers that only read; tokenbook.record_expiries books exactly these.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.due_grants(p_user_id uuid, p_at timestamptz)
returns setof public.token_balances
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select (d.slot).* from tokenbook.due_slots(p_user_id, p_at) d
  union all
  select (g.granted).* from tokenbook.grants_to_begin(p_user_id, p_at) g
   where g.is_fitting and coalesce((g.granted).expires_at > p_at, true); -- @beginnings-count
end
$$;
comment on function tokenbook.due_grants is
  'What an account is due at p_at and has not been booked yet: what its plans'' schedules give, and grants whose moment has come.';
