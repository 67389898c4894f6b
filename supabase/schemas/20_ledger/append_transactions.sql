/*
 * Appends transactions to the ledger: the one INSERT into it, which a lint proves, but for the copy that
 * the fast path of tokenbook.deduct_tokens_with_fifo has for speed. Takes complete rows: the caller has
 * locked their accounts, numbered them, and changes grants and totals in the same transaction.
 * Caller: internal.   Keeps: I3.
 */
create function tokenbook.append_transactions(p_transactions public.token_transactions[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.token_transactions select t.* from unnest(p_transactions) as t;
end
$$;
comment on function tokenbook.append_transactions is
  'Appends complete transactions to the ledger; the caller has locked their accounts and changes grants and totals with them.';
