-- A user may have however many payments waiting.
select pg_temp.mutate('payments-are-bounded', 'v_limit - 1', 'v_limit + 1000000');
