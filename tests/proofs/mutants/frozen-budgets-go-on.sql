-- The budget of a frozen account is passed on.
select pg_temp.mutate('frozen-pass-nothing-on', 'if false then');
