-- No bad variant but the other way: everything about a spending is looked at, and no balance is read as it stands.
select pg_temp.mutate('usual-own-account', 'and false');
select pg_temp.mutate('nothing-done-first', 'if false then');
select pg_temp.mutate('usual-grants-as-stored', 'if false then');
