-- Spends the newest grant first.
select pg_temp.mutate('tokenbook.choose_grants', 'order by b.priority, b.granted_at, b.id', 'order by b.priority, b.granted_at desc, b.id');
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', 'order by h.priority, h.granted_at, h.id', 'order by h.priority, h.granted_at desc, h.id');
