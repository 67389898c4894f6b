/*
 * Locks the accounts of many users at once, in the order of their ids, and returns those that there
 * are. A caller that needs several accounts locks them with one call of this, before it locks anything else: two
 * callers that need the same accounts then meet at the lowest id and cannot deadlock. Waits at most five
 * seconds for each, then refuses with busy.
 * Read the clock after this, not before.
 * Caller: internal.   Locks: the token_accounts rows.   Errors: busy.
 */
create function tokenbook.lock_accounts(p_user_ids uuid[])
returns setof public.token_accounts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  return query
  select a.*
    from public.token_accounts a
   where a.user_id = any (p_user_ids)
   order by a.user_id -- @accounts-in-one-order
     for no key update;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_accounts is
  'Locks the account rows of these users in the order of their ids (at most five seconds each, then busy) and returns those that there are.';
