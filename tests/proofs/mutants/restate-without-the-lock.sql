-- Replays and books without the account's lock: what others do meanwhile is overwritten.
select pg_temp.mutate('tokenbook.restate_token_balances', 'v_account := tokenbook.lock_account(p_user_id);',
  'select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;');
