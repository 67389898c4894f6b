-- Of plans that ended one after the other before anybody looked, the first alone is told.
select pg_temp.mutate('ends-one-after-another', 'from (select p_was as kept, null::timestamptz as since) c');
