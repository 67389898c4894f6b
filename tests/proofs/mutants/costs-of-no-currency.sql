-- A cost needs no currency.
select pg_temp.mutate('cost-basis-has-currency', '(p_currency ~ ''^[a-z]{3}$'') is not true', 'false');
