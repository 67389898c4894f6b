-- When a customer's user becomes known, their payments that wait for one go on waiting.
select pg_temp.mutate('waiting-of-a-customer', 'limit 0)');
