-- That the money of a payment has changed is not noted.
select pg_temp.mutate('counted-again-when-changed', '');
