/*
 * Locks the accounts of many users at once, in the order of their ids, and returns those that there
 * are. A caller that needs several accounts locks them with one call of this, before it locks anything else: two
 * callers that need the same accounts then meet at the lowest id and cannot deadlock. Waits at most five
 * seconds for each, then refuses with busy.
 * Read the clock after this, not before.
 * Accounts whose books are not here are refused, or with p_away_too locked and returned as the others: for callers that look
 * at the state of each.
 * Caller: internal.   Locks: the token_accounts rows.   Errors: busy, account_moving, account_moved.
 */
create function tokenbook.lock_accounts(p_user_ids uuid[], p_away_too boolean default false)
returns setof public.token_accounts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
  v_account public.token_accounts;
begin
  for v_account in
    select a.*
      from public.token_accounts a
     where a.user_id = any (p_user_ids)
     order by a.user_id -- @accounts-in-one-order
       for no key update
  loop
    if not p_away_too then
      perform tokenbook.refuse_away(v_account.user_id, v_account.state); -- @several-that-are-here
    end if;
    return next v_account;
  end loop;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_accounts is
  'Locks the account rows of these users in the order of their ids (at most five seconds each, then busy) and returns those that there are.';
