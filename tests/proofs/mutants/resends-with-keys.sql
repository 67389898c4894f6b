-- Whoever repeats a request's id seems to have been charged twice, users and other keys too.
select pg_temp.mutate('only-unkeyed-resends', 'true as is_unkeyed');
