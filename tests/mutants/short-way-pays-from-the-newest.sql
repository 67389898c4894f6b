-- The usual deduction takes the newest grant; the general one is as it was.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', 'order by h.priority, h.granted_at, h.id', 'order by h.priority, h.granted_at desc, h.id');
