-- Takes a key of any length: one that does not fit an index is a server error.
select pg_temp.mutate('keys-fit-an-index', 'if false');
