-- What a credit held goes on waiting when that is decided.
select pg_temp.mutate('decided-credits-release', ';');
