-- Takes the whole share of a refund back, whatever has been taken back for it before.
select pg_temp.mutate('clawed-back-only-once', 'v_to_claw);');
