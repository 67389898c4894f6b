-- A grant to come begins whenever somebody looks, however far off its moment is.
select pg_temp.mutate('begins-at-its-moment', 'g.starts_at <=', '''-infinity'' <=', p_places => 2);
