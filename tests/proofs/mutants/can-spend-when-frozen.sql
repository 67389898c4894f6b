-- Whether a user can spend does not look at the account's state.
select pg_temp.mutate('asked-not-frozen', '');
