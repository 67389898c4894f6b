-- Of guesses at once none waits for the count of the others, which takes its time.
select pg_temp.mutate('guesses-one-by-one', 'select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;');
select pg_temp.mutate('guesses-are-counted', 'perform pg_sleep(0.05); \&');
