-- A user who has books where they come to loses them.
select pg_temp.mutate('nobody-twice', 'not in (''moved'', ''arriving'')', 'is null');
