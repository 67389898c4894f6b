-- What is read of a user is what was here before the books were moved.
select pg_temp.mutate('reads-what-is-here', '');
