-- What is spent is not counted into its day.
select pg_temp.mutate('counts-by-day', ' + v_spent', '');
