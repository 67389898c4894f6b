-- A cancellation that was over before a period was paid ends that period too.
select pg_temp.mutate('the-past-says-nothing', '   where true');
