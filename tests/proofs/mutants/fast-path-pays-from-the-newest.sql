-- A deduction by the fast path takes the newest grant; by the full path it is as it was.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', 'tokenbook.open_grants_fifo(p_user_id, v_now) g limit 1', 'tokenbook.open_grants_fifo(p_user_id, v_now) g order by g.priority, g.granted_at desc, g.id limit 1');
