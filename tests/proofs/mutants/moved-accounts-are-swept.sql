-- What is due stays due when books leave: the jobs go through them here, too.
select pg_temp.mutate('nothing-due-elsewhere', 'set');
