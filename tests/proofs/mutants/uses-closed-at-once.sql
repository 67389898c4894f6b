-- A moment is closed although a transaction is open that can still bring an older use.
select pg_temp.mutate('open-transactions-are-awaited', 'pg_snapshot_xmin', 'pg_snapshot_xmax');
