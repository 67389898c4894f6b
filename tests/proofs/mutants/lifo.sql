-- Spends the newest grant first.
select pg_temp.mutate('oldest-first', 'granted_at', 'granted_at desc');
