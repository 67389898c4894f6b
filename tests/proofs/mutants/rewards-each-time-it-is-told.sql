-- A payment rewards each time something is told of it, and the newest is what is taken back.
select pg_temp.mutate('rewarded-once', 'v_is_first := true;');
