-- A usual spending takes the newest grant.
select pg_temp.mutate('oldest-is-first', 'b.granted_at,', 'b.granted_at desc,');
