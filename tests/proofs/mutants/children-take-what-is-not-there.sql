-- A child gets what it asks for, whatever the budget has left.
select pg_temp.mutate('passes-no-more', 'tokens := p_tokens;');
select pg_temp.mutate('passed-on-is-gone', 'h.tokens - take_from_hold.tokens', 'greatest(h.tokens - take_from_hold.tokens, 0)');
