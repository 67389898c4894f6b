/*
 * Refuses a user whom neither the books nor auth.users know. A deleted user's account stays in the books
 * and is found. A user who calls for themself is never told user_not_found; an admin or the server can be.
 * A user whose account row was lost, or whose books are not here, is refused to every caller.
 * Caller: internal.   Errors: user_not_found, account_lost, account_moving, account_moved.
 */
create function tokenbook.require_user(p_user_id uuid, p_actor_role text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state text := (select a.state from public.token_accounts a where a.user_id = p_user_id);
begin
  if v_state is not null then
    if v_state not in ('active', 'frozen') then
      perform tokenbook.refuse_away(p_user_id, v_state); -- @reads-what-is-here
    end if;
  elsif tokenbook.is_account_lost(p_user_id) then
    perform tokenbook.refuse('account_lost', '{}');
  elsif p_actor_role <> 'user'
    and not exists (select 1 from auth.users u where u.id = p_user_id)
  then
    perform tokenbook.refuse('user_not_found', '{}');
  end if;
end
$$;
comment on function tokenbook.require_user is
  'Refuses with user_not_found, to admins and the server only, a user whom neither the books nor auth.users know; with account_lost one whose account row is gone.';
