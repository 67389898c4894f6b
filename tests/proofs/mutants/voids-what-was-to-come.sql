-- What is voided in the moment in which it begins is said to end as if it were never there.
select pg_temp.mutate('voids-what-has-begun', '');
