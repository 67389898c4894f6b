-- The newest grant pays first.
select pg_temp.mutate('tokenbook.replay', 'order by b.priority, b.granted_at, b.id))', 'order by b.priority, b.granted_at desc, b.id))');
