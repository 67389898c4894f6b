-- A digest is of its entry alone and not of the one before: the last one says nothing of the others.
select pg_temp.mutate('chain-goes-on', 'v_at.numbers := sha256(v_entry.numbers);');
