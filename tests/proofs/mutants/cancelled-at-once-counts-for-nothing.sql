-- A subscription that is cancelled in the moment in which its period began goes on to the end of it.
select pg_temp.mutate('cancelled-at-once', ';');
