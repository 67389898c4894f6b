-- Where no plan of theirs came from there, each attempt is told.
select pg_temp.mutate('attempts-are-one-failure', 'if v_attempts is null then');
