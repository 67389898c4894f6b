-- A customer is given to another user, and the one before keeps what was said of its subscriptions.
select pg_temp.mutate('former-customers-are-settled', '');
