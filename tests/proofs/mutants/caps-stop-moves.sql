-- What keeps beside the account whether its user has caps asks for the account's lock while the books are taken away.
select pg_temp.mutate('caps-leave-with-books', 'if false then');
