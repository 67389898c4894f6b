-- What is still there is taken for what was made.
select pg_temp.mutate('shape-is-compared', 'where d.kind is null or p.kind is null');
