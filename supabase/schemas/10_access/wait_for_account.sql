/*
 * Locks an account that could not be locked at once: another transaction has it, or there is none. Waits in
 * its queue (tokenbook.queue_for_account), then as the first in the queue for the row, two seconds each; then busy.
 * Each wait has an exception block of its own, because a row that is locked inside such a block is locked
 * by a subtransaction and then changed by its parent, which costs writers and readers extra work. As a
 * rule the row is free after the queue, and is locked outside of any block.
 * Caller: tokenbook.lock_account.   Locks: the token_accounts row.   Errors: busy, account_lost, account_moving, account_moved.
 */
create function tokenbook.wait_for_account(p_user_id uuid, p_create boolean)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_account public.token_accounts;
begin
  if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    -- a transaction that has already written may hold this row; queueing behind its own waiters would deadlock.
    -- One that has written nothing cannot hold it, and must not overtake the queue
    if pg_current_xact_id_if_assigned() is not null then
      select a.* into v_account
        from public.token_accounts a
       where a.user_id = p_user_id
         and a.alerts_version is not null
         for no key update skip locked;
      if found then
        return v_account;
      end if;
    end if;
    perform tokenbook.queue_for_account(p_user_id);
  end if;

  select a.* into v_account
    from public.token_accounts a
   where a.user_id = p_user_id
     and a.alerts_version is not null
     for no key update skip locked;
  if found then
    return v_account;
  end if;

  -- there is no row, its books are not here, or a transaction that did not queue has locked it
  if tokenbook.is_account_lost(p_user_id) then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  begin
    if p_create then
      insert into public.token_accounts (user_id) values (p_user_id) on conflict do nothing;
    end if;
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       for no key update;
  exception
    when lock_not_available then
      perform tokenbook.refuse('busy', '{}');
  end;
  perform tokenbook.refuse_away(v_account.user_id, v_account.state); -- @waited-for-is-here
  return v_account;
end
$$;
comment on function tokenbook.wait_for_account is
  'Locks an account that tokenbook.lock_account could not lock at once: at most four seconds, then busy.';
