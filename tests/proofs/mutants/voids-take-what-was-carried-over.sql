-- Takes back with a grant what was carried over into another one.
select pg_temp.mutate('carried-over-stays', $$, 'rollover'$$, '');
