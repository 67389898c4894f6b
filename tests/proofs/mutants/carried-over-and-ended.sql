-- What was carried over after it ran out has ended, and lives.
select pg_temp.mutate('carried-over-lives', '-p.part_tokens', '0');
