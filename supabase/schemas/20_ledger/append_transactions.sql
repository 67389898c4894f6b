/*
 * Appends transactions to the ledger: the one INSERT into it, which a lint proves, but for the copies that
 * tokenbook.spend_tokens and settle_hold have for speed (decision 34). Takes complete rows, and refuses one that breaks a rule of its kind
 * (tokenbook.broken_transaction_rule): the caller has locked their accounts, numbered them, and changes grants and
 * totals in the same transaction.
 * Caller: internal.   Keeps: I3.
 */
create function tokenbook.append_transactions(p_transactions public.token_transactions[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_written bigint;
  v_entry public.token_transactions;
begin
  insert into public.token_transactions
  select t.* from unnest(p_transactions) as t
   where tokenbook.broken_transaction_rule(t) is null;
  get diagnostics v_written = row_count;
  if v_written < cardinality(p_transactions) then
    select t.* into v_entry
      from unnest(p_transactions) as t
     where tokenbook.broken_transaction_rule(t) is not null
     limit 1;
    perform tokenbook.refuse_row('token_transactions', tokenbook.broken_transaction_rule(v_entry), to_jsonb(v_entry));
  end if;
end
$$;
comment on function tokenbook.append_transactions is
  'Appends complete transactions to the ledger; the caller has locked their accounts and changes grants and totals with them.';
