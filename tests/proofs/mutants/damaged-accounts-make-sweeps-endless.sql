-- After a damaged account a sweep goes on to the last account, however much there is to book.
select pg_temp.mutate('sweeps-are-bounded', 'exit when false;');
