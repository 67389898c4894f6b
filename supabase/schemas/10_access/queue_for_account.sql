/*
 * Stands in the queue at an account, an advisory lock, for at most two seconds; then busy. Who is its
 * first finds the row free, unless somebody has it who does not queue, and what is right rests on the
 * row alone.
 * Those who wait for a row itself are all woken by each change of it and wait anew, and no timeout
 * bounds that: with 200 at one account the statement's own (8 s in a hosted project) came first, and
 * that is no answer.
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
  'Stands in the queue at the user''s account, for at most two seconds, then busy.';
