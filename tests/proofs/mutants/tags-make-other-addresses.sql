-- An address with a tag is another address.
select pg_temp.mutate('tags-are-no-names', '');
