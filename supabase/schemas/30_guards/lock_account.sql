/*
 * Locks a user's account and returns it; NULL when he has none (with p_create it is made first).
 * Every change of a user's books takes this lock first, and nothing else is locked before it: so
 * two changes never wait for each other in a circle.
 * Whoever finds it taken stands in a queue, an advisory lock, and only the first in it waits for the
 * row. Those who wait for a row itself are all woken by each change of it and wait anew, and no
 * timeout bounds that: with 200 at one account the statement's own (8 s in a hosted project) came
 * first, and that is no answer. Now it is two seconds in the queue and two at the row, then busy.
 * What is right rests on the row alone.
 * Read the clock after this, not before: whoever waited across an expiry must not spend the grant.
 * Caller: internal.   Locks: the token_accounts row.   Errors: busy.
 */
create or replace function private.lock_account(p_user_id uuid, p_create boolean default false)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '2s'
as $$
declare
  v_account public.token_accounts;
  v_queue bigint := pg_catalog.uuid_hash_extended(p_user_id, 0);
begin
  if not pg_catalog.pg_try_advisory_xact_lock(v_queue) then
    -- this transaction may have the row already: then it must not stand behind who waits for it
    perform from public.token_accounts a where a.user_id = p_user_id for no key update skip locked;
    if not found then
      perform pg_catalog.pg_advisory_xact_lock(v_queue);
    end if;
  end if;
  if p_create then
    insert into public.token_accounts (user_id) values (p_user_id) on conflict do nothing;
  end if;
  select a.* into v_account
    from public.token_accounts a
   where a.user_id = p_user_id
     for no key update;
  return v_account;
exception
  when lock_not_available then
    perform private.refuse('busy', '{}');
end
$$;
comment on function private.lock_account(uuid, boolean) is
  'Locks the user''s account row (at most four seconds, then busy) and returns it; NULL when there is none, unless p_create.';
revoke all on function private.lock_account(uuid, boolean) from public, anon, authenticated, service_role;
