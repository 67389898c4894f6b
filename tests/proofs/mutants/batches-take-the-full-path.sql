-- No item takes the fast path: every item of a batch goes through tokenbook.spend_tokens. No fault, but the other path.
select pg_temp.mutate('tokenbook.spend_tokens_batch', 'where a.tokens_remaining >= -e.tokens', 'where false and a.tokens_remaining >= -e.tokens');
