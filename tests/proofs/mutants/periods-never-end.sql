-- What a plan never gave is owed for ever.
select pg_temp.mutate('periods-that-are-over', 's.period_end <= clock_timestamp()', 'false');
