-- Judges each entry by itself and not the commit.
select pg_temp.mutate('last-commit-counts', 'and false');
