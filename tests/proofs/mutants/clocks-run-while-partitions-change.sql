-- A test clock moves uses while they are copied into other partitions.
select pg_temp.mutate('clocks-wait-for-partitions', '');
