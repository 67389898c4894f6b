-- Without the row of the settings no account is behind its rules, and nobody is told.
select pg_temp.mutate('tokenbook.record_transaction', 'a.alerts_version is distinct from', 'a.alerts_version <>');
