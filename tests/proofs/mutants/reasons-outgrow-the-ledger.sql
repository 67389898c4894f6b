-- Puts words before a reason, however long it is.
select pg_temp.mutate('reasons-fit', ', 500)', ', 5000)');
