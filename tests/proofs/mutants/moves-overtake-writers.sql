-- A move begins while a writer that needs no lock of the account has not committed.
select pg_temp.mutate('writers-are-done-first', '');
