/*
 * Whether a user's account counts transactions that are not in the ledger. The books never get there by themselves; a
 * restore that left the ledger out does.
 * Caller: internal.
 */
create function tokenbook.is_ledger_lost(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select 1 from public.token_accounts a
     where a.user_id = p_user_id and a.last_transaction_id > 0
       and not exists (
         select 1 from public.token_transactions t where t.user_id = p_user_id and t.id = a.last_transaction_id));
end
$$;
comment on function tokenbook.is_ledger_lost is
  'Whether the user''s account counts transactions that are not in the ledger.';
