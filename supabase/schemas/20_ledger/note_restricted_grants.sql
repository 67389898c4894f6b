/*
 * Notes on the account that some of its grants pay only for some things, so that whoever spends looks which: the quick
 * way of spending does not. The caller holds the account's lock. Taken back by tokenbook.decide_spending, once all of
 * them have ended.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.note_restricted_grants(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.token_accounts a
     set has_restricted_grants = true -- @restricted-grants-are-noted
   where a.user_id = p_user_id and not a.has_restricted_grants;
end
$$;
comment on function tokenbook.note_restricted_grants is
  'Notes on the account that some of its grants pay only for some things.';
