-- Looks whether the account is frozen first, and takes the lock afterwards.
select pg_temp.mutate('spend-locks-first', 'perform set_config(''tokenbook.was_state'', coalesce((
    select a.state from public.token_accounts a where a.user_id = p_user_id), ''active''), true);
  \&');
select pg_temp.mutate('frozen-after-lock', 'v_is_frozen := current_setting(''tokenbook.was_state'') = ''frozen'';');
