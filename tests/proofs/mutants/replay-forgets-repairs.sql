-- What reconciliation has settled is asked for again.
select pg_temp.mutate('tokenbook.replay', 'v_event.id = v_settled_id', 'false');
