-- No bad variant, but a slow one: what a spending sees of its account is a moment old when it locks it.
select pg_temp.mutate('usual-own-account', '\& and pg_sleep(0.01) is not null');
