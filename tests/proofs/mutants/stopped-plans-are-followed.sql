-- A plan that was paused before its end gives way to the lower one, as if it had run.
select pg_temp.mutate('stopped-is-not-followed', '       > ''infinity''');
