-- A balance by the fast path is told to any user who is signed in, whoever it is about.
select pg_temp.mutate('tokenbook.get_user_token_balance', $$current_setting('role') <> 'service_role'$$, 'false');
