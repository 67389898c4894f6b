-- A caller may name their spending as the books name what is theirs.
select pg_temp.mutate('names-are-reserved', 'return ''{}'';');
