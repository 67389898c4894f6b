-- Looks for the key first and takes the lock afterwards.
select pg_temp.mutate('spend-locks-first', 'perform 1 from public.token_transactions t where t.user_id = p_user_id and t.idempotency_key = p_idempotency_key;
  if found then
    replayed := true;
    return;
  end if;
  perform pg_sleep(0.005); -- what was read is a moment old, as it is under load
  \&');
select pg_temp.mutate('replay-after-lock', 'if false then');
select pg_temp.mutate('decides-after-replay', '');
-- the unique index would be the second line
drop index public.token_transactions_idempotency_key;
