-- An acknowledgement leaves out the entry of that number and those moments of whoever has one.
select pg_temp.mutate('acknowledged-user-only', 'where true');
