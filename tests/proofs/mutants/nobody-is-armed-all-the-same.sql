-- The job of every minute writes a row into a database that nobody has used yet.
select pg_temp.mutate('nobody-to-arm', 'if false then');
