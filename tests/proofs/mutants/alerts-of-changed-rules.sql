-- Takes everyone for above who has not been told.
select pg_temp.mutate('tokenbook.cross_thresholds', 'else p_before < v_rule.threshold end', 'else false end');
