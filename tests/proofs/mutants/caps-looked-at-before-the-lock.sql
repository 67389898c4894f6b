-- Asks the caps first and takes the lock afterwards.
select pg_temp.mutate('decide-locks-first', 'select a.* into v_account from public.token_accounts a where a.user_id = decide_spending.user_id;
  v_cap := tokenbook.spend_headroom(v_account, member_id, clock_timestamp());
  perform pg_sleep(0.005); -- what was read is a moment old, as it is under load
  \&');
select pg_temp.mutate('caps-after-lock', '');
