-- Forgets that the balance came back: what was told once is never told again.
select pg_temp.mutate('tokenbook.cross_thresholds', '    if v_state is distinct from v_stood
', '    v_state.is_below := v_state.is_below or coalesce(v_stood.is_below, false);
    if v_state is distinct from v_stood
');
