-- A user whose books are in another project stops an archive from being restored.
select pg_temp.mutate('moved-uses-stay-archived', ';');
