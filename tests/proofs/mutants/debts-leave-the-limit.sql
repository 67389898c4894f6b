-- What is owed already leaves the limit as it is.
select pg_temp.mutate('debt-uses-the-limit', '- coalesce(p_account.tokens_owed, 0) + p_repaid', '');
