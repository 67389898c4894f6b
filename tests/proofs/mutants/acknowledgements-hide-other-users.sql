-- An acknowledgement leaves out the entries of all users that have that number and those moments.
select pg_temp.mutate('acknowledged-user-only', 'where true');
