-- What is bought takes the place of what was bought before, for good.
select pg_temp.mutate('payments-go-on', 'then p_now end); v_beside := ''[]'';');
