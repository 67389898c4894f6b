-- A hold is settled wherever the books are.
select pg_temp.mutate('usual-is-here', '');
