-- The newest grant pays first.
select pg_temp.mutate('replay-oldest-first', 'order by b.priority, b.granted_at desc, b.id');
