-- What goes beyond a hold is owed, whatever a cap allows.
select pg_temp.mutate('overdrawn-within-the-cap', 'and (v_cap.headroom < v_beyond) is not true', '');
