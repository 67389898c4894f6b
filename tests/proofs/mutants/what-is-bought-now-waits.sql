-- Whatever begins before a period that has been paid ahead leaves the plan as it is.
select pg_temp.mutate('tokenbook.start_period', 'p_period_start is not null and subscription.period_start > v_start', 'subscription.period_start > v_start');
