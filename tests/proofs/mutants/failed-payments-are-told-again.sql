-- A user is told of a failed payment as often as its event comes.
select pg_temp.mutate('told-once-a-moment', 'v_alert.epoch := (extract(epoch from clock_timestamp()) * 1000000)::bigint;');
