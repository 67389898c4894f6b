-- An account's cost is that of the uses that are there.
select pg_temp.mutate('archived-cost-counts', 'sum(a.cost)', '0');
