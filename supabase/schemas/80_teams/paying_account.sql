/*
 * The account that a user spends from: their payer's while they are in a team, else their own. Check it
 * again once the account is locked (tokenbook.spend_tokens does): joining and leaving lock both accounts.
 * Caller: internal.
 */
create function tokenbook.paying_account(p_user_id uuid)
returns uuid
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((select a.payer_id from public.token_accounts a where a.user_id = p_user_id), p_user_id);
end
$$;
comment on function tokenbook.paying_account is 'The account that a user spends from: their payer''s while they are in a team, else their own.';
