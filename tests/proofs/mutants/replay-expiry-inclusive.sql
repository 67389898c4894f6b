-- Off by one instant: at expires_at itself the grant still pays.
select pg_temp.mutate('expired-pays-nothing', '> v_event.at', '>= v_event.at');
