-- Leaves open which of two grants of one priority and moment is spent first.
select pg_temp.mutate('oldest-first', 'b.id', 'md5(b.id::text)');
select pg_temp.mutate('soonest-first', 'b.id', 'md5(b.id::text)');
