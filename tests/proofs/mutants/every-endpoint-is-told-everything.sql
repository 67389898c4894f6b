-- An endpoint is told of what it has not asked for, and when it is switched off.
select pg_temp.mutate('told-who-asked', 'where true');
