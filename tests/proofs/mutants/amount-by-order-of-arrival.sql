-- Of two amounts of one payment the one that came last counts, instead of the largest.
select pg_temp.mutate('largest-amount-counts', 'select (array_agg((e.facts ->> ''amount_cents'')::bigint order by e.received_at desc) filter (where e.facts ? ''amount_cents''))[1]');
