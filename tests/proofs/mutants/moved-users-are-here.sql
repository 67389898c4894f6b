-- What writes beside the account does not ask whether the books are here.
select pg_temp.mutate('here-or-refused', '');
