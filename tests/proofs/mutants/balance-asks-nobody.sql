-- Any signed-in user is told any user's balance.
select pg_temp.mutate('balance-asks-who', 'if false then');
