-- Reads the hold, and takes the lock afterwards.
select pg_temp.mutate('tokenbook.lock_hold', $$
begin
  v_account := tokenbook.lock_account(v_account_id);$$, $$
begin
  select h.* into hold from public.token_holds h where h.user_id = p_user_id and h.id = p_hold_id;
  perform pg_sleep(0.005);
  v_account := tokenbook.lock_account(v_account_id);
  locked_at := clock_timestamp();
  return;$$);
