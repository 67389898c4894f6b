-- Takes what there is, and then finds that it was not enough.
select pg_temp.mutate('short-takes-nothing',
  'update public.token_balances b set tokens_remaining = 0, is_open = false where b.user_id = spend_tokens.user_id;
      \&');
