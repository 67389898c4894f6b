-- What a higher plan took the place of does not go on when that one ends.
select pg_temp.mutate('lower-plans-go-on', 'v_beside := p_was.beside;');
