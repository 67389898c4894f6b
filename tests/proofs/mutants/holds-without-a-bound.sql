-- A user may have however many holds open.
select pg_temp.mutate('holds-are-bounded', '- 1)', '+ 1000000)');
