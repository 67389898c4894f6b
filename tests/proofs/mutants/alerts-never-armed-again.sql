-- Forgets that the balance came back: what was told once is never told again.
select pg_temp.mutate('alerts-armed-again', 'v_state.is_below := v_state.is_below or coalesce(v_stood.is_below, false);
    \&');
