-- The guard that everybody writes first: it sees every row that is changed, and truncate changes none.
drop trigger token_transactions_keep_append_only on public.token_transactions;
drop trigger token_transactions_keep_append_only on tokenbook.token_transactions_1_0;
create trigger token_transactions_keep_append_only
  before update or delete on public.token_transactions
  for each row execute function tokenbook.keep_ledger_append_only();
