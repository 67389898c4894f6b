-- A grant pays on after it has run out.
select pg_temp.mutate('tokenbook.replay', ' > 0 and v_expires_at[v_nth] > v_event.at then', ' > 0 then');
