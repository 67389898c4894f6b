-- Leaves open which of two grants of one priority and moment is spent first.
select pg_temp.mutate('tokenbook.open_grants_in_order', 'order by b.priority, b.granted_at, b.id', 'order by b.priority, b.granted_at, md5(b.id::text)');
select pg_temp.mutate('tokenbook.open_grants_in_order', 'order by b.priority, b.expires_at, b.granted_at, b.id', 'order by b.priority, b.expires_at, b.granted_at, md5(b.id::text)');
