-- Replays and books without the account's lock: what others do meanwhile is overwritten.
select pg_temp.mutate('restates-after-lock',
  'select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;');
