-- Spends the newest grant first.
select pg_temp.mutate('tokenbook.open_grants_fifo', 'order by b.priority, b.granted_at', 'order by b.priority, b.granted_at desc');
