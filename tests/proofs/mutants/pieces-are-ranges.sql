-- A piece is read between its ends, of which the planner knows nothing when both are in one bucket of its histogram.
select pg_temp.mutate('users-of-a-piece', 'where (p_after is null or t.user_id > p_after) and (p_until is null or t.user_id <= p_until)');
