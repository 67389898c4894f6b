-- By the fast path any signed-in user may deduct from any user.
select pg_temp.mutate('deduction-asks-who', 'if false then');
