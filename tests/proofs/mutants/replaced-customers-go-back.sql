-- A customer that was replaced is the former user's again with the next event from before.
select pg_temp.mutate('replaced-for-good', '''-infinity''', 'clock_timestamp()');
