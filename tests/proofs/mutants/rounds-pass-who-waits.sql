-- A round goes on behind everybody whom it has looked at, counted or not.
select pg_temp.mutate('rounds-wait', ' filter (where w.before >= c_portion or w.entries > c_portion)', ' filter (where false)');
