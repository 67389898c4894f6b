-- A report on a read replica says that all is counted until now, of which the replica has not heard yet.
select pg_temp.mutate('replicas-know-their-past', 'return v_now;');
