-- However many codes somebody has tried in vain, they may try the next.
select pg_temp.mutate('guessing-has-a-bound', 'v_limit', 'v_limit + 1000000');
