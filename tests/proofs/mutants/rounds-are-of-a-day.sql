-- What was counted once today is not looked at again.
select pg_temp.mutate('rounds-are-soon-over', '1 minute', '1 day');
