-- Who has waited for an account does not look whether its books are here.
select pg_temp.mutate('waited-for-is-here', '');
