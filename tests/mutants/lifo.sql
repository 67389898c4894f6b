-- Spends the newest grant first.
select pg_temp.mutate('private.choose_grants', 'order by b.priority, b.granted_at, b.id', 'order by b.priority, b.granted_at desc, b.id');
