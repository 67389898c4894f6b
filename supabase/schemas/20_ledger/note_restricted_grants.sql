/*
 * Notes on the account until when it has grants that pay only for some things (NULL: for ever), so that a deduction
 * checks which of them pay: the fast path does not. The caller holds the account's lock.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.note_restricted_grants(p_user_id uuid, p_until timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.token_accounts a
     set restricted_until = greatest(a.restricted_until, coalesce(p_until, 'infinity')) -- @restricted-grants-are-noted
   where a.user_id = p_user_id;
end
$$;
comment on function tokenbook.note_restricted_grants is
  'Notes on the account until when it has grants that pay only for some things.';
