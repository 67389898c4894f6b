/*
 * Whether a user's account row is gone while the rest of their books is there: grants, transactions, or
 * a team that they are in. The books never get there by themselves; a restore that left a table out does. To
 * go on with a new, empty account would be a balance of 0 beside open grants, and numbers of
 * transactions that are taken already.
 * One statement, or an account made meanwhile would look lost.
 * Caller: internal.
 */
create function tokenbook.is_account_lost(p_user_id uuid)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return not exists (select 1 from public.token_accounts a where a.user_id = p_user_id) -- @books-without-account
    and (exists (select 1 from public.token_balances b where b.user_id = p_user_id)
      or exists (select 1 from public.token_transactions t where t.user_id = p_user_id)
      or exists (select 1 from public.token_team_members m where m.member_id = p_user_id and m.until is null));
end
$$;
comment on function tokenbook.is_account_lost is
  'Whether the user''s account row is gone while the rest of their books is there.';
