-- The whole ledger is compared with a checkpoint, what was added since included.
select pg_temp.mutate('from-the-rows', 'from tokenbook.chain_ledger(v_then.user_id) c');
