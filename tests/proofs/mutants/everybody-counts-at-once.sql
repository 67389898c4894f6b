-- Every caller counts, whether another is counting or not.
select pg_temp.mutate('one-counts', ' for update', '');
select pg_temp.mutate('marks-are-locked', ' for update of c skip locked', '');
select pg_temp.mutate('rounds-go-on', 'r.is_only', 'false');
