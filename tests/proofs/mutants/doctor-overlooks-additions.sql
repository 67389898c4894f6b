-- Only what was declared is looked for.
select pg_temp.mutate('shape-is-compared', '\& and d.kind is not null');
