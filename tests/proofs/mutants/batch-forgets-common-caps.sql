-- The items of a batch that take the fast path do not ask for the caps that everyone is under.
select pg_temp.mutate('tokenbook.spend_tokens_batch', 'and not exists (select from public.token_default_spend_caps)', '');
