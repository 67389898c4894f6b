-- A usual spending is that of anybody who is in no team now: it looks for the key among their own entries alone.
select pg_temp.mutate('usual-own-account', 'and a.payer_id is null');
