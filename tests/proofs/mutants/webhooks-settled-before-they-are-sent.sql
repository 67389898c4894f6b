-- What is handed out counts as delivered at once: whoever dies with it has lost it.
select pg_temp.mutate('claimed-by-one', 'status = ''delivered'', settled_at = v_now, next_attempt_at = null');
