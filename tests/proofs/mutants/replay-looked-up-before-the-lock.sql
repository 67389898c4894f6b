-- Looks for the key first and takes the lock afterwards.
select pg_temp.mutate('spend-locks-first', 'transaction := tokenbook.find_replay(p_entry);
  if transaction.id is not null then
    replayed := true;
    return;
  end if;
  perform pg_sleep(0.005); -- what was read is a moment old, as it is under load
  \&');
select pg_temp.mutate('replay-after-lock', '');
select pg_temp.mutate('fast-path-locks-first', 'exit fast_path when exists (
      select from public.token_transactions t
       where t.user_id = p_user_id and t.idempotency_key = p_idempotency_key);
    perform pg_sleep(0.005);
    \&');
select pg_temp.mutate('fast-replay-after-lock', '');
-- the unique index would be the second line
drop index public.token_transactions_idempotency_key;
