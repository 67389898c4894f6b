-- A payment and its parts are different payments.
select pg_temp.mutate('parts-are-joined', 'f.part_of in (select n.whole from named n)', 'false');
