-- Whatever order is chosen, it stays fifo.
select pg_temp.mutate('burn-order-is-kept', 'set is_expiring_first = false');
