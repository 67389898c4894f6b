-- Books that are in use again, here or there, are not looked at: what runs out is not due.
select pg_temp.mutate('looked-at-again', 'next_due_at = v_at, alerts_version = -1, ', '', p_places => 2);
