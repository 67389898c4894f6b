-- The clock of a user of whom a provider has told is advanced.
select pg_temp.mutate('nobody-who-pays', 'when false');
