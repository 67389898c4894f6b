-- No bad variant, but one that a trial holds up: at lock 1, where a spending has read its account and not locked it, and
-- at lock 2, where it has locked it.
select pg_temp.mutate('usual-own-account', '\& and pg_advisory_xact_lock_shared(1) is not null');
select pg_temp.mutate('usual-nothing-due', 'if v_due_at <= created_at or pg_advisory_xact_lock_shared(2) is null then');
