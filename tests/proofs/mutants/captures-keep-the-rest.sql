-- Captures everything that was held, whatever was used.
select pg_temp.mutate('tokenbook.capture_tokens', 'v_captured := least(v_tokens, v_hold.tokens);', 'v_captured := v_hold.tokens;');
