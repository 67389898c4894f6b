-- What a trigger of the app's writes to another row, because the books wrote one, is taken for the books' own.
select pg_temp.mutate('writes-of-their-triggers', 'pg_trigger_depth() = 1 and', '');
