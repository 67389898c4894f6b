-- A repeated request id counts as charged twice, also for a user's own calls and under other keys.
select pg_temp.mutate('only-unkeyed-resends', 'true as is_unkeyed');
