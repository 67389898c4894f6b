-- A plan that was paused before its end is due to be followed, and never is.
select pg_temp.mutate('stopped-is-not-followed', '');
