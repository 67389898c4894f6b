-- A change is booked before it is written down what the books have of the counter.
select pg_temp.mutate('shadows-begin-first', '  if v_shadow.source is null then');
