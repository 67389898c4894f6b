-- Off by one instant: at expires_at itself the grant still pays.
select pg_temp.mutate('tokenbook.replay', 'v_expires_at[v_nth] > v_event.at then', 'v_expires_at[v_nth] >= v_event.at then');
