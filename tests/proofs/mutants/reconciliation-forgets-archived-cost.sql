-- The trail's cost is that of the uses that are there.
select pg_temp.mutate('archived-cost-is-known', 'sum(a.charged_cents)', '0 * sum(a.charged_cents)');
