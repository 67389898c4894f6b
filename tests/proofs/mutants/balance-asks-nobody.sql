-- A balance is told to any user who is signed in, whoever it is about.
select pg_temp.mutate('balance-asks-who', 'if false then');
