-- A setting that names nobody is for everyone.
select pg_temp.mutate('everyone-is-said', 'if false then');
