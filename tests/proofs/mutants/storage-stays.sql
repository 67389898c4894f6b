-- What storage came with a plan counts for ever.
select pg_temp.mutate('storage-follows-the-plan', 'return true');
