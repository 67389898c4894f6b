-- A column that says less than nothing gives tokens.
select pg_temp.mutate('rows-never-give', 'if false then');
