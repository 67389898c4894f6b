-- After forgetting a user, the transaction may rewrite the ledger until it ends.
select pg_temp.mutate('and-no-longer', '');
