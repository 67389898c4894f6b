-- A grant that a refund reissued and the replay had nothing for gets what a later refund gives back.
select pg_temp.mutate('tokenbook.replay', $$v_event.kind = 'refund' and v_left[v_nth] is null$$, $$v_event.kind = 'refund' and v_left[v_nth] is null and v_homeless > 0$$);
