-- A usual spending takes the newest grant.
select pg_temp.mutate('pays-from-the-oldest', 'limit 1', 'order by g.priority, g.granted_at desc, g.id limit 1');
