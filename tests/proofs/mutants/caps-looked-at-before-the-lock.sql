-- Asks the caps first and takes the lock afterwards.
select pg_temp.mutate('spend-locks-first', 'perform set_config(''tokenbook.was_headroom'', coalesce((
    select h.headroom::text from public.token_accounts a cross join lateral tokenbook.spend_headroom(a, null, clock_timestamp()) h
     where a.user_id = p_user_id), ''''), true);
  perform pg_sleep(0.005); -- what was read is a moment old, as it is under load
  \&');
select pg_temp.mutate('caps-after-lock', 'select nullif(current_setting(''tokenbook.was_headroom''), '''')::bigint as headroom, null::jsonb as capped_by into v_cap;');
