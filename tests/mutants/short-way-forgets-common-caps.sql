-- The usual deduction does not ask for the caps that everyone is under.
select pg_temp.mutate('private.deduct_tokens_with_fifo', 'not r.has_common_caps and ', '');
