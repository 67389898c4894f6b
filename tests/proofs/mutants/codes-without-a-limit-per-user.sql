-- A user redeems a code as often as they like.
select pg_temp.mutate('codes-per-user', 'if false then');
