-- What is used beyond a hold counts tokens that do not pay for it.
select pg_temp.mutate('beyond-what-pays', '');
