/*
 * Whose account a user spends from: his payer's while he is in a team, else his own. To be asked
 * again once the account is locked (private.spend does): joining and leaving lock both accounts.
 * Caller: internal.
 */
create or replace function private.paying_account(p_user_id uuid)
returns uuid
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = ''
as $$
begin
  return coalesce((select a.payer_id from public.token_accounts a where a.user_id = p_user_id), p_user_id);
end
$$;
comment on function private.paying_account(uuid) is 'The account that a user spends from: his payer''s while he is in a team, else his own.';
revoke all on function private.paying_account(uuid) from public, anon, authenticated, service_role;
