-- Hours that are out of bounds count as left out, and the table refuses them.
select pg_temp.mutate('hours-within-a-year', 'when (v_asks = ''hours'') <> coalesce(v_asked.hours between 1 and 8760, v_asked.hours is not null)');
