-- Does not ask again under the lock whether somebody was faster, of the grants or of the ledger.
select pg_temp.mutate('initial-plan-after-lock', 'if false then');
select pg_temp.mutate('ledger-asked-too', 'if false');
