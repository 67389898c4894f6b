-- Everyone's uses may be counted in part.
select pg_temp.mutate('counted-before', 'm.counted_until >= v_archive.used_before', 'true');
