-- An amount or a currency is said to be another one, and not what was expected.
select pg_temp.mutate('parking-says-the-expected', 'case when false then');
