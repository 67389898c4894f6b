-- An alert that its own transaction takes back is sent all the same.
select pg_temp.mutate('taken-back-unsent', '');
