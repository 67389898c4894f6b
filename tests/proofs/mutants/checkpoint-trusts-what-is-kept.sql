-- A checkpoint is compared with what the database has kept of the chain, not with the ledger.
select pg_temp.mutate('from-the-rows', 'from (select k.* from tokenbook.ledger_checkpoints k where k.user_id = v_then.user_id) c');
