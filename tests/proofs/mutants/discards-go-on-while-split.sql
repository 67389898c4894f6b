-- A move that is taken back deletes entries of a ledger that is being partitioned.
select pg_temp.mutate('discards-wait-for-splits', 'if false then');
