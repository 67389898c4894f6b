-- Does not ask whether a period has been carried over before; the unique index would be the second line.
select pg_temp.mutate('tokenbook.roll_over', 'b.rolled_over_from = v_closing.id)', 'false)');
drop index public.token_balances_rollover_key;
