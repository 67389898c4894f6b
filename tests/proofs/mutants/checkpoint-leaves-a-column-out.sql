-- The chain leaves a column of the ledger out: who changes it is not seen.
select pg_temp.mutate('every-column-chained', 't.tokens, ', '');
