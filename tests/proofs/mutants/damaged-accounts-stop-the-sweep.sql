-- An account whose books are damaged ends the sweep of all the others.
select pg_temp.mutate('damaged-accounts-set-aside', 'when sqlstate ''ZZ000'' then');
