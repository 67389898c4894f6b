-- Looks whether the account is frozen first, and takes the lock afterwards.
select pg_temp.mutate('decide-locks-first', 'select a.* into v_account from public.token_accounts a where a.user_id = decide_spending.user_id;
  v_is_frozen := tokenbook.is_frozen(v_account, member_id);
  \&');
select pg_temp.mutate('frozen-after-lock', 'null;');
