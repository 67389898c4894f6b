-- Whatever begins before a period that has been paid ahead leaves the plan as it is.
select pg_temp.mutate('highest-rank-counts', '(precedence, one.period_start) > (tokenbook.plan_precedence(v_is), v_is.period_start)', 'one.period_start > v_is.period_start');
