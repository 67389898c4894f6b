-- A user whose records cannot be read ends the report of all the others.
select pg_temp.mutate('one-report-a-user', 'when sqlstate ''ZZ000'' then');
