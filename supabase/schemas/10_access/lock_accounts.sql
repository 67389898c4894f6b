/*
 * Locks the accounts of many users at once, in the order of their ids, and returns those that there
 * are. Whoever needs several accounts takes them so, all in one go and before anything else: two
 * that want the same ones then meet at the lowest and never wait for each other in a circle. Waits
 * at most five seconds for each, then says busy.
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
