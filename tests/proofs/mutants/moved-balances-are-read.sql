-- A balance says what was here before the books were moved.
select pg_temp.mutate('balance-that-is-here', 'if false then');
