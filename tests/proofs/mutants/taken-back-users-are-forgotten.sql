-- A project that users left forgets them when their way back is taken back.
select pg_temp.mutate('who-was-here-is-known', 'v_back_ids := ''{}'';');
