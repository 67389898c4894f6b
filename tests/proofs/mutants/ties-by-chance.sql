-- Leaves open which of two grants of one priority and moment is spent first.
select pg_temp.mutate('tokenbook.open_grants_fifo', 'b.granted_at, b.id', 'b.granted_at, md5(b.id::text)');
select pg_temp.mutate('tokenbook.open_grants_expiring_first', 'b.granted_at, b.id', 'b.granted_at, md5(b.id::text)');
