-- The months of a plan whose past was moved are those of the time that it was moved to.
select pg_temp.mutate('slots-on-their-days', 'v_moved', 'interval ''0''');
