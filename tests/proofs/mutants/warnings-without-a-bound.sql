-- Every grant that runs out soon is warned of at once.
select pg_temp.mutate('warnings-are-bounded', 'limit 100)', 'limit 100000)');
