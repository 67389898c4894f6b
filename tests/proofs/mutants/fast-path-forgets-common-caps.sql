-- A deduction by the fast path does not ask for the caps that everyone is under.
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', 'and not exists (select from public.token_default_spend_caps)', '');
