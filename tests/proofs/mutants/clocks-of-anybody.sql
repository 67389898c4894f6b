-- Whoever may advance a clock advances everybody's.
select pg_temp.mutate('test-users-are-named', 'not exists', 'false and not exists');
