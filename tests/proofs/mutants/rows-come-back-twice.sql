-- A row that went while nothing was noted, and comes back, is all new to the books.
select pg_temp.mutate('rows-that-come-back', '    elsif false then');
