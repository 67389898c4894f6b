-- What is credited to a customer for unused time takes nothing back of what it had paid for.
select pg_temp.mutate('credits-take-their-share', '+ (select coalesce(sum(c.cents), 0) from credits c),', ',');
