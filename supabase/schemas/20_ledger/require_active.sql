/*
 * Refuses what would begin something new with an account: a payment to ask for, a top-up, another plan.
 * A frozen account begins nothing, and nor does one whose user was deleted. What began before goes on.
 * Caller: internal, holding the account's lock.   Errors: account_frozen, user_not_found.
 */
create function tokenbook.require_active(p_user_id uuid, p_account public.token_accounts)
returns void
language plpgsql
volatile -- as tokenbook.is_frozen
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if tokenbook.is_frozen(p_account, null) then -- @frozen-begins-nothing
    perform tokenbook.refuse('account_frozen', '{}');
  elsif not tokenbook.is_user(p_user_id) then
    perform tokenbook.refuse('user_not_found', '{}');
  end if;
end
$$;
comment on function tokenbook.require_active is
  'Refuses with account_frozen where the account is frozen, with user_not_found where its user was deleted.';
