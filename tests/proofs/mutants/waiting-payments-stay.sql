-- When a customer's user becomes known, nothing that waited is given to them.
select pg_temp.mutate('waiting-payments-are-settled', '');
