-- Whatever begins before a period that has been paid ahead leaves the plan as it is.
select pg_temp.mutate('bought-now-counts-now', 'p_period_start is not null and ', '');
