/*
 * Records the actor of a change beside the ledger, in the transaction that makes the change. What users set for
 * themselves is not recorded: the row that it writes is their own.
 * Caller: internal.   Keeps: I10.
 */
create function tokenbook.record_change(
  p_change text,
  p_user_id uuid,
  p_actor_role text,
  p_actor_id uuid,
  p_reason text,
  p_details jsonb
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into tokenbook.changes (user_id, change, actor_role, actor_id, reason, details)
  select p_user_id, p_change, p_actor_role, p_actor_id, p_reason, jsonb_strip_nulls(p_details) -- @changes-name-who
   where p_actor_role <> 'user';
end
$$;
comment on function tokenbook.record_change is
  'Keeps what an admin or the server changed beside the ledger: who, what, why, about whom.';
