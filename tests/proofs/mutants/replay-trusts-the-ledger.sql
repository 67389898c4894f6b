-- What is given back goes where the ledger says, whatever the replay took.
select pg_temp.mutate('tokenbook.replay', '(v_part_ids, v_part_tokens) is distinct from (v_event.grant_ids, v_event.grant_tokens)', 'false');
