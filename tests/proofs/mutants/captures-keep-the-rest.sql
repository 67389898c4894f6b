-- Captures everything that was held, whatever was used.
select pg_temp.mutate('captures-what-was-used', 'v_paid := v_held; v_back := 0;');
