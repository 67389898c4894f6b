-- A deduction gives one token back, and writes no entry about it.
select pg_temp.mutate('balance-has-its-entry', '\&
  update public.token_accounts a set tokens_remaining = a.tokens_remaining + 1 where a.user_id = spend_tokens.user_id;');
