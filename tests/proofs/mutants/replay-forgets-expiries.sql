-- A replay goes by the expiry that a grant had first, whatever was said since.
select pg_temp.mutate('replay-knows-expiries', '');
