-- A deduction by the fast path is for any user who is signed in, whoever it is about.
select pg_temp.mutate('deduction-asks-who', 'if false then');
