-- A row that could not be paid for stays.
select pg_temp.mutate('rows-are-paid-for', 'v_spent.shortfall > 0', 'false');
