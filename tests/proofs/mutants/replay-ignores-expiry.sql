-- A grant pays on after it has run out.
select pg_temp.mutate('expired-pays-nothing', 'if v_left[v_nth] > 0 then');
