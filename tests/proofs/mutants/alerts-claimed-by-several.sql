-- A claim does not say that it is one: the next run takes the same alerts.
select pg_temp.mutate('claimed-by-one', 'next_attempt_at = v_now');
