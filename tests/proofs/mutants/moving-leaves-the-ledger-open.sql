-- Once a past was moved, the rest of the transaction may change the ledger.
select pg_temp.mutate('moved-and-no-longer', '');
