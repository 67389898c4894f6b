-- What is given back goes where the ledger says, whatever the replay took.
select pg_temp.mutate('returned-where-taken', 'and false');
