-- Takes back with a grant what was carried over into another one.
select pg_temp.mutate('private.void_grant', $$, 'restatement', 'rollover')$$, $$, 'restatement')$$);
