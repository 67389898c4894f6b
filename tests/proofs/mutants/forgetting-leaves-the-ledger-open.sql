-- Whoever forgot a user may rewrite the ledger until their transaction ends.
select pg_temp.mutate('and-no-longer', '');
