-- A body is taken whatever it is declared as: of CSV the first row is booked, of a text the function's defaults.
select pg_temp.mutate('json-bodies-only', '');
