/*
 * Locks a user's account and returns it; NULL when he has none (with p_create it is made first).
 * Every change of a user's books takes this lock first, and nothing else is locked before it: so
 * two changes never wait for each other in a circle. Waits at most five seconds, then says busy.
 * Read the clock after this, not before: whoever waited across an expiry must not spend the grant.
 * Caller: internal.   Locks: the token_accounts row.   Errors: busy.
 */
create or replace function private.lock_account(p_user_id uuid, p_create boolean default false)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '5s'
as $$
declare
  v_account public.token_accounts;
begin
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
  'Locks the user''s account row (at most five seconds, then busy) and returns it; NULL when there is none, unless p_create.';
revoke all on function private.lock_account(uuid, boolean) from public, anon, authenticated, service_role;
