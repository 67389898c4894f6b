-- What was acknowledged stays left out, whatever is made of it later.
select pg_temp.mutate('acknowledged-as-it-was', ')');
