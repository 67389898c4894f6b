-- Takes everyone for above who has not been told.
select pg_temp.mutate('new-rules-tell-nothing', 'else false end;');
