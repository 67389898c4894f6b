-- A hold that somebody has locked is told as settled, and is not.
select pg_temp.mutate('locked-holds-stay', 'exit;');
