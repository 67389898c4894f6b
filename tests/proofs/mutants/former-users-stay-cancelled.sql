-- A subscription turns out to be another user's, and the one before keeps what was said of it.
select pg_temp.mutate('former-users-are-settled', '');
