/*
 * Waits in an account's queue, an advisory lock, for at most two seconds; then busy. The first in the
 * queue finds the row free, unless a transaction that did not queue has locked it; correctness depends on
 * the row lock alone.
 * Transactions that wait for the row itself are all woken by each change of it and wait anew, and
 * lock_timeout does not bound the sum of these waits: with 200 callers at one account the statement timeout
 * (8 s in a hosted project) ended the call, and the caller got no answer that names the reason.
 * Caller: internal.   Locks: the queue of that account.   Errors: busy.
 */
create function tokenbook.queue_for_account(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0));
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.queue_for_account is
  'Waits in the queue of the user''s account for at most two seconds, then busy.';
