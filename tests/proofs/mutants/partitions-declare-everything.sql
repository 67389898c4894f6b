-- A change of partitions declares everything as it is then, and with it whatever is not as it was made.
select pg_temp.mutate('declares-these-alone', 'if false then');
