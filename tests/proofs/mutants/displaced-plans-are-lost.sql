-- What a higher plan took the place of does not go on when that one ends, paid for or not.
select pg_temp.mutate('lower-plans-go-on', 'v_beside := p_was.beside;');
select pg_temp.mutate('payments-go-on', 'then p_now end); v_beside := p_was.beside;');
