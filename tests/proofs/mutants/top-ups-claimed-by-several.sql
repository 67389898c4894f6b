-- A claim of top-ups does not say that it is one: the next run takes the same requests.
select pg_temp.mutate('charged-by-one-run', 'next_attempt_at = v_now,');
