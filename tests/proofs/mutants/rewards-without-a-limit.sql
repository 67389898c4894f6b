-- Somebody is rewarded for as many as they refer.
select pg_temp.mutate('rewards-are-bounded', '');
