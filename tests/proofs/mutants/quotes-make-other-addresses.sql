-- An address with needless quotes is another address.
select pg_temp.mutate('needless-quotes-go', '');
