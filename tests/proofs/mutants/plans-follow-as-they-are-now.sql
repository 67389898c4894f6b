-- What follows a plan is what the catalogue says when somebody looks.
select pg_temp.mutate('as-the-catalogue-was', 'and false), ''{}''));');
