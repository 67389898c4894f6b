-- Does not ask whether the period has been begun.
select pg_temp.mutate('period-given-once', 'else false end;');
