-- What admins wrote about a person is taken for the books' own words.
select pg_temp.mutate('reasons-are-erased', '');
