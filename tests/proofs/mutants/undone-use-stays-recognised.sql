-- What use was undone stays recognised.
select pg_temp.mutate('undone-use-is-deferred', '-p.part_tokens', '0');
