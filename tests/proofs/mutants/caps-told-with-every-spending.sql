-- A cap that is reached is told with every spending that meets it.
select pg_temp.mutate('caps-told-once', 'p_once_as => clock_timestamp() || format(');
