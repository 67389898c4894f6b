-- A user without an account counts as having nothing, whatever else the books say of them.
select pg_temp.mutate('books-without-account', 'return false');
