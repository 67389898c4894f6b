-- What goes beyond a hold is owed, whatever a cap allows.
select pg_temp.mutate('overdrawn-within-the-cap', 'least(tokenbook.overdraft_left(v_account), v_cap.headroom - v_allowed)', 'tokenbook.overdraft_left(v_account)');
