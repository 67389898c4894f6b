/*
 * Whether nothing is spent from this account now: it is frozen or its books are not here, or that is so of the member of its
 * team who would spend. Takes the account row, so that a caller that has locked it is answered for the row as locked; a member's
 * state changes under the payer's lock too (tokenbook.set_token_account_state).
 * Caller: internal.
 */
create function tokenbook.is_frozen(p_account public.token_accounts, p_member_id uuid)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(p_account.state <> 'active', false)
    or p_member_id is not null -- @frozen-members-too
       and exists (select 1 from public.token_accounts a where a.user_id = p_member_id and a.state <> 'active');
end
$$;
comment on function tokenbook.is_frozen is
  'Whether nothing is spent from this account now, by its user or by that member of its team.';
