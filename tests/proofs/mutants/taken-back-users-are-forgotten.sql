-- A project that users left forgets them when their way back is taken back.
select pg_temp.mutate('known-who-was-here', 'v_back_ids := ''{}'';');
