-- What a rate counts is charged whatever the action costs at most.
select pg_temp.mutate('actions-bound-rates', 'v_max_tokens', 'null');
