-- What is not there is owed, however much it is.
select pg_temp.mutate('owed-within-the-limit', 'least(p_tokens - tokens, tokenbook.overdraft_left(v_account, v_repaid))', 'p_tokens - tokens');
