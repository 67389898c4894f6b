-- What storage came with a plan counts for ever.
select pg_temp.mutate('storage-goes-with-the-plan', 'return true');
