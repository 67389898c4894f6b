-- A user may have however many grants to come.
select pg_temp.mutate('few-grants-to-come', '>= v_limit', '< 0');
