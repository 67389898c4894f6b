-- Nothing is usual: every item of a batch goes through private.spend. No fault, but the other path.
select pg_temp.mutate('private.spend_many', 'where a.tokens_remaining >= -e.tokens', 'where false and a.tokens_remaining >= -e.tokens');
