-- A use that calls itself a grant is counted as one, whatever was booked; and may call itself so.
select pg_temp.mutate('names-are-reserved', 'return ''{}'';');
select pg_temp.mutate('grants-by-their-entry', '');
