-- No bad variant but the other way: no deduction and no balance takes the fast path.
select pg_temp.mutate('fast-path-if-plain', 'when (', 'when true or (');
select pg_temp.mutate('balance-fast-path', 'if false then');
