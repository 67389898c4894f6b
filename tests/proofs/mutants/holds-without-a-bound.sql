-- A user may have however many holds open.
select pg_temp.mutate('holds-are-bounded', 'v_limit - 1', 'v_limit + 1000000');
