/*
 * Locks a code and returns it; NULL when there is none. When many redeem one code, each waits for the commit of the one
 * before, 0.9 seconds at most; then busy. A transaction that has redeemed another code before, and would deadlock, gets
 * busy too.
 * Caller: internal, holding the account's lock already where it needs one: nothing is locked after a code.
 * Locks: the code.   Errors: busy.
 */
create function tokenbook.lock_code(p_code_id uuid)
returns tokenbook.codes
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '900ms' -- shorter than deadlock_timeout: this gives way before Postgres looks for a deadlock
as $$
declare
  v_code tokenbook.codes;
begin
  select c.* into v_code from tokenbook.codes c where c.id = p_code_id for no key update; -- @codes-are-locked
  return v_code;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_code is 'Locks a code (at most 0.9 seconds, then busy) and returns it; NULL when there is none.';
