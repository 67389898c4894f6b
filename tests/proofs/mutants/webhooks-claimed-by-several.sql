-- A claim does not say that it is one: the next run takes the same webhooks.
select pg_temp.mutate('claimed-by-one', 'next_attempt_at = v_now');
