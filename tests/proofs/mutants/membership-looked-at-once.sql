-- Asks who pays, waits for the lock, and does not ask again.
select pg_temp.mutate('payer-asked-again', 'if false');
