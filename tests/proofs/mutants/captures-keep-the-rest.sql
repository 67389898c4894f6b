-- Captures everything that was held, whatever was used.
select pg_temp.mutate('captures-what-was-used', 'v_captured := v_hold.tokens;');
