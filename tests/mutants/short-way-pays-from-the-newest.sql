-- The usual deduction takes the newest grant; the general one is as it was.
select pg_temp.mutate('private.spend_at_once', 'order by h.priority, h.granted_at, h.id', 'order by h.priority, h.granted_at desc, h.id');
