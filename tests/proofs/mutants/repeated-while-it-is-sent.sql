-- A delivery that somebody is sending just now is handed to the next one, too.
select pg_temp.mutate('not-while-sent', 'if true then');
