-- What is handed out counts as delivered at once: it is lost when its sender dies.
select pg_temp.mutate('claimed-by-one', 'status = ''delivered'', settled_at = v_now, next_attempt_at = null');
