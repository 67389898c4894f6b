-- The accounts of a portion are locked one after the other, in the order in which their counters changed.
select pg_temp.mutate('shadow-locks-in-order', '');
