-- Of two running totals of refunds the one that came last counts, instead of the one that was later.
select pg_temp.mutate('latest-total-counts', 't.occurred_at', 't.received_at');
