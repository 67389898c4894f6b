-- What a trigger of the app's writes to another row, because the books wrote one, is taken for the books' own.
select pg_temp.mutate('triggers-of-theirs-are-theirs', 'pg_trigger_depth() = 1 and', '');
