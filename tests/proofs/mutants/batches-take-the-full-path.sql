-- No item takes the fast path: every item of a batch goes through tokenbook.spend_tokens. No fault, but the other path.
select pg_temp.mutate('batch-covers-each', 'where false');
