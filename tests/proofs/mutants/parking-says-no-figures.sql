-- An amount or a currency is said to be another one, and not what was expected.
<<<<<<< HEAD
select pg_temp.mutate('parking-says-expectation', 'case when false then');
=======
select pg_temp.mutate('parking-says-the-expected', 'case when false then');
>>>>>>> w-told
