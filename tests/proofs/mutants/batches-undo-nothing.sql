-- All or nothing is whatever goes.
select pg_temp.mutate('all-or-nothing', 'if false');
