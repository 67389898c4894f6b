-- Of several accounts nobody asks whether their books are here.
select pg_temp.mutate('several-that-are-here', '');
