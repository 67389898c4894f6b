-- Reads the hold, and takes the lock afterwards.
select pg_temp.mutate('hold-read-after-lock', 'select h.* into hold from public.token_holds h where h.user_id = p_user_id and h.id = p_hold_id;
  perform pg_sleep(0.005);
  \&
  locked_at := clock_timestamp();
  return;');
