-- What has the id of a line goes, whatever it says by now.
select pg_temp.mutate('only-what-is-written', '');
