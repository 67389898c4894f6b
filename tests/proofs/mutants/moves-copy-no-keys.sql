-- The keys of calls stay behind, and nobody compares them.
select pg_temp.mutate('keys-go-along', 'null, null, null', 'null, ''{idempotency_key,request}'', null');
select pg_temp.mutate('compared-whole', '');
