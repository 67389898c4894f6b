-- Any entry of the moment of a void is taken for the void's.
select pg_temp.mutate('void-by-own-entry', ');');
