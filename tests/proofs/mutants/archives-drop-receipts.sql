-- A repeated call is answered from the ledger alone.
select pg_temp.mutate('receipts-stay', 'where false');
