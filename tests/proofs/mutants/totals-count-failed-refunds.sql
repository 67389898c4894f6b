-- A running total counts refunds that have failed since.
select pg_temp.mutate('totals-less-what-failed', 'r.failed_since_cents', '0');
