-- The new project uses the books as soon as they are copied.
select pg_temp.mutate('arrives-closed', '');
