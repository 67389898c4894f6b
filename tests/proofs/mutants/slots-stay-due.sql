-- What a slot gave is forgotten: the next call gives it again.
select pg_temp.mutate('each-slot-once', 'p_period.next_slot_at - interval ''1 microsecond''));');
select pg_temp.mutate('one-slot-one-grant', 'v_grant.id := gen_random_uuid();');
