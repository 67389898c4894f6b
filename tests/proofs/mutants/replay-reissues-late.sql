-- A grant that a refund reissued and the replay had nothing for gets what a later refund gives back.
select pg_temp.mutate('reissued-be-it-nothing', 'then', 'and v_homeless > 0 then');
