-- What goes wrong while a change of the project's counter is noted goes wrong for whoever makes it.
select pg_temp.mutate('our-faults-are-caught', '');
