-- Two runs book the same changes of the counter.
select pg_temp.mutate('changes-booked-by-one', 'for no key update', '');
