-- Takes back with a grant what was carried over into another one.
select pg_temp.mutate('tokenbook.void_token_grant', $$, 'restatement', 'rollover')$$, $$, 'restatement')$$);
