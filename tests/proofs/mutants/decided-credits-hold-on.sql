-- What a credit held goes on waiting when that is decided.
select pg_temp.mutate('credits-release-what-they-held', ';');
