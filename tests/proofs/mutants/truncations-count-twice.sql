-- What went with one truncation of the counter's table goes with the next one too.
select pg_temp.mutate('truncations-add-up', '');
