-- A higher plan that is in force again leaves the lower one in its place.
select pg_temp.mutate('highest-rank-counts', 'or false)');
