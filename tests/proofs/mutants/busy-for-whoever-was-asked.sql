-- A function of the project's that called ours answers 503, though what it wrote is kept.
select pg_temp.mutate('status-of-own-requests', 'if true then');
