-- The usual deduction takes the newest grant; the general one is as it was.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', 'tokenbook.open_grants_in_order(p_user_id, v_now, false) g limit 1', 'tokenbook.open_grants_in_order(p_user_id, v_now, false) g order by g.priority, g.granted_at desc, g.id limit 1');
