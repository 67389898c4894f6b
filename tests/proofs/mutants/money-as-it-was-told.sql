-- Money that changed without an entry is not looked at.
select pg_temp.mutate('money-as-it-is', 's.changed_at is not null', 'false');
