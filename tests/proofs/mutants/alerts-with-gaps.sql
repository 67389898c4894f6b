-- Leaves a gap in the numbers where an alert was taken back that others came after.
select pg_temp.mutate('tokenbook.cross_thresholds', 'and t.id > v_taken_back_id', 'and false');
