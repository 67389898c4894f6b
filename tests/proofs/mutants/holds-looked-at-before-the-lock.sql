-- Reads the hold, and takes the lock afterwards.
select pg_temp.mutate('settle-locks-first', 'p_now is null and', 'false and');
select pg_temp.mutate('hold-read-with-lock', ';
    if found then
      perform pg_sleep(0.005); -- what was read is a moment old, as it is under load
      select a.ctid, a.last_transaction_id into v_account_place, v_last_id
        from public.token_accounts a where a.user_id = v_user_id for no key update;
    end if;');
