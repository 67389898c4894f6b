-- What is due is booked as a whole, however much it is.
select pg_temp.mutate('grants-in-portions', 'limit v_grants) g on true', 'limit 100 * v_grants) g on true');
select pg_temp.mutate('backlogs-settled-first', 'not tokenbook.has_backlog(p_user_id, p_portions)', 'true');
select pg_temp.mutate('holds-in-portions', 'one.parts_before < v_grants', 'true');
