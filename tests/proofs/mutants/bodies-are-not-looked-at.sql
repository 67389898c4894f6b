-- Neither callers nor the server are asked what their body is declared as.
select pg_temp.mutate('callers-send-one-object', '');
select pg_temp.mutate('plain-calls-one-object', '');
select pg_temp.mutate('server-sends-one-object', '', p_places => 15);
