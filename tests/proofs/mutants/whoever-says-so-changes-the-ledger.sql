-- An update of the ledger is always taken for an erasure.
select pg_temp.mutate('only-to-erase', 'if tg_op = ''UPDATE'' then');
