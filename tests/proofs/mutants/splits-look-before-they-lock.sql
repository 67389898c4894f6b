-- Reads the budget without the account's lock, and without its own.
select pg_temp.mutate('splits-lock-first', 'select false as is_behind, clock_timestamp() as locked_at, h as hold into v_locked
    from public.token_holds h where h.user_id = p_user_id and h.id = p_parent_id;');
select pg_temp.mutate('parent-read-with-lock', ';
  perform pg_sleep(0.005); -- what was read is a moment old, as it is under load');
