-- Gives the new grant its tokens and forgets to take them out of the old one.
select pg_temp.mutate('tokenbook.roll_over', 'set tokens_remaining = b.tokens_remaining - v_tokens, is_open = b.tokens_remaining > v_tokens', 'set tokens_remaining = b.tokens_remaining');
