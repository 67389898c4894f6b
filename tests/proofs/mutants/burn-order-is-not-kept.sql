-- Whatever order is chosen, it stays fifo.
select pg_temp.mutate('tokenbook.set_token_burn_order', $$is_expiring_first = p_burn_order = 'expiring_first'$$, 'is_expiring_first = false');
