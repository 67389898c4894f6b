-- A user whose books cannot be read ends the verification of all the others.
select pg_temp.mutate('unreadable-users-apart', 'when sqlstate ''ZZ000'' then');
