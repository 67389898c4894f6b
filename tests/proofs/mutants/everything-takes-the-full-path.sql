-- No bad variant but the other way: everything about a spending is looked at, and no balance takes the fast path.
select pg_temp.mutate('usual-own-account', 'and false');
select pg_temp.mutate('balance-fast-path', 'if false then');
