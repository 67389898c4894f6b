-- What reconciliation has settled is asked for again.
select pg_temp.mutate('repairs-settle', 'if false then');
