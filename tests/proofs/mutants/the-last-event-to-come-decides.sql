-- Of two events of a subscription the one counts that came last, not the one that happened last.
select pg_temp.mutate('latest-of-a-subscription', 'order by e.received_at,');
