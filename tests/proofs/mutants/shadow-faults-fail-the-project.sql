-- A fault while a change of the project's counter is noted fails the project's statement.
select pg_temp.mutate('our-faults-are-caught', '');
