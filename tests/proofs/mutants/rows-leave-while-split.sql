-- Rows leave a table while it is changed into other partitions: what is compared already has them still.
select pg_temp.mutate('rows-stay-while-split', 'if false then');
