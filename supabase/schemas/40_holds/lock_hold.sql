/*
 * Locks the account, books what is due on it (the hold too, when it has run out), and returns the
 * hold as it then is; with is_behind, and no hold, where more was due than one call books. A user settles
 * no hold that an admin or the server made for them: they could take back what a running call is about to cost; nor
 * does a payer settle a member's.
 * A member's hold is on the account that it was taken from, whether the member is still in the team or not.
 * Caller: internal.   Errors: busy, user_not_found, hold_not_found, forbidden.
 */
create function tokenbook.lock_hold(
  p_user_id uuid,
  p_hold_id uuid,
  p_actor_role text,
  out locked_at timestamptz,
  out hold public.token_holds,
  out is_behind boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account_id constant uuid := coalesce(
    (select h.user_id from public.token_holds h where h.member_id = p_user_id and h.id = p_hold_id), p_user_id);
  v_account public.token_accounts;
begin
  is_behind := tokenbook.settle_backlog(v_account_id);
  if is_behind then
    return;
  end if;
  v_account := tokenbook.lock_account(v_account_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(v_account_id, p_actor_role);
  end if;
  locked_at := clock_timestamp();
  if v_account.next_due_at <= locked_at then
    perform tokenbook.record_expiries(array[v_account_id], locked_at);
  end if;
  select h.* into hold from public.token_holds h where h.user_id = v_account_id and h.id = p_hold_id;
  if hold.id is null then
    perform tokenbook.refuse('hold_not_found', '{}');
  end if;
  if p_actor_role = 'user' and (hold.actor_role <> 'user' or coalesce(hold.member_id, hold.user_id) <> p_user_id) then
    perform tokenbook.refuse('forbidden');
  end if;
end
$$;
comment on function tokenbook.lock_hold is
  'Locks the account, books what is due, and returns the clock and the hold; a user gets no hold that they did not make.';
