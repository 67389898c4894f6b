-- Whatever order is chosen, it stays fifo.
select pg_temp.mutate('private.set_burn_order', 'values (p_burn_order)', $$values ('fifo')$$);
