-- Waits for the account's lock as long as it takes.
select pg_temp.mutate('tokenbook.wait_for_account', $$ SET lock_timeout TO '2s'
$$, $$ SET lock_timeout TO '0'
$$);
