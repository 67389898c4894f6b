-- A grant tells what it gave as there, though a debt has taken it.
select pg_temp.mutate('debt-is-repaid-first', '''tokens_remaining'', v_transaction.balance_after,');
