-- A repeated call is answered from the ledger alone.
select pg_temp.mutate('receipts-stay', 't.hold_id is not null', 'false) and (false');
