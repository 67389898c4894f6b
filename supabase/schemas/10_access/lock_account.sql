/*
 * Locks a user's account and returns it; NULL when there is none (with p_create it is made first).
 * Every change of a user's books takes this lock first, and nothing else is locked before it: two
 * changes therefore cannot deadlock.
 * A caller that finds the row locked waits in a queue, an advisory lock, and only the first in the queue
 * waits for the row (tokenbook.wait_for_account). Correctness depends on the row lock alone.
 * Read the clock after this, not before: a caller that waited past a grant's expiry must not spend it.
 * An account whose books are being moved to another project, or have been, is refused (tokenbook.refuse_away).
 * Caller: internal.   Locks: the token_accounts row.   Errors: busy, account_lost, account_moving, account_moved.
 */
create function tokenbook.lock_account(p_user_id uuid, p_create boolean default false)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
begin
  if pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       and a.alerts_version is not null -- @locks-what-is-here
       for no key update skip locked;
    if found then
      return v_account;
    end if;
  end if;
  return tokenbook.wait_for_account(p_user_id, p_create);
end
$$;
comment on function tokenbook.lock_account is
  'Locks the user''s account row (at most four seconds, then busy) and returns it; NULL when there is none, unless p_create.';
