-- A deduction by the fast path is not counted into its day.
select pg_temp.mutate('fast-path-counts-day', ',');
