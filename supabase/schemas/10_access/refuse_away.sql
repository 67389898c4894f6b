/*
 * Refuses a user whose books are not here: they are being moved to another project or from there, or they have been
 * moved (decision 77). Any other state of an account is let through.
 * Caller: whatever locks an account, and what reads one without.   Errors: account_moving, account_moved.
 */
create function tokenbook.refuse_away(p_user_id uuid, p_state text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_state in ('moving', 'arriving') then
    perform tokenbook.refuse('account_moving', '{}');
  elsif p_state = 'moved' then
    perform tokenbook.refuse('account_moved', jsonb_build_object('moved_to', (
      select m.place from tokenbook.moves m
       where m.user_id = p_user_id and m.direction = 'out' and m.phase = 'moved'
       order by m.started_at desc limit 1)));
  end if;
end
$$;
comment on function tokenbook.refuse_away is
  'Refuses with account_moving or account_moved where the state of the account says that its books are not here.';

/*
 * The same, for callers that have not read the account: what writes a user's rows without its lock, and what reads them.
 * With p_for_write a move that begins waits until the caller has committed; it holds up no other call of the user's.
 * Caller: internal.   Locks: with p_for_write the account's key.   Errors: account_moving, account_moved, busy.
 */
create function tokenbook.require_here(p_user_id uuid, p_for_write boolean default false)
returns void
language plpgsql
volatile -- it must see what was committed meanwhile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_state text;
begin
  if p_for_write then
    select a.state into v_state from public.token_accounts a where a.user_id = p_user_id for key share;
  else
    select a.state into v_state from public.token_accounts a where a.user_id = p_user_id;
  end if;
  perform tokenbook.refuse_away(p_user_id, v_state); -- @here-or-refused
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.require_here is
  'Refuses with account_moving or account_moved a user whose books are not here; with p_for_write they stay until the caller has committed.';
