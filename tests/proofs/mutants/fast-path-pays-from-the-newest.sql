-- A deduction by the fast path takes the newest grant; by the full path it is as it was.
select pg_temp.mutate('fast-path-oldest-first', 'limit 1', 'order by g.priority, g.granted_at desc, g.id limit 1');
