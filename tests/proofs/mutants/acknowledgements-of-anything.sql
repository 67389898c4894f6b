-- Whatever transaction is named is acknowledged, before there is anything to find.
select pg_temp.mutate('acknowledged-if-found', 'and (true');
