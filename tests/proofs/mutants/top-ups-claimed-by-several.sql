-- A claim of top-ups does not say that it is one: the next run takes the same requests.
select pg_temp.mutate('top-up-claimed-by-one', 'next_attempt_at = v_now,');
