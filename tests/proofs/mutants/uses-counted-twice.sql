-- What is in the totals is added up once more.
select pg_temp.mutate('each-use-once', 'greatest(v_from, m.counted_until)', 'v_from');
