-- What is reissued is nobody's money.
select pg_temp.mutate('reissued-with-its-money', 'tokenbook.money_of(row(b.*)::public.token_balances)', 'null::uuid');
