-- Without the row of the settings no account is behind its rules, and nobody is told.
select pg_temp.mutate('alerts-without-settings', 'is distinct from', '<>', p_places => 2);
