-- What was sold goes on being counted where its user was.
select pg_temp.mutate('sold-where-they-are', '');
