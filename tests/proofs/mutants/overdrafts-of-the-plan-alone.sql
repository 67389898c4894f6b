-- What was said of a user does not count.
select pg_temp.mutate('said-before-the-plan', 'p_account.overdraft_limit', 'null::bigint');
