-- The newest grant pays first.
select pg_temp.mutate('tokenbook.replay', 'order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false)))', 'order by b.priority, b.granted_at desc, b.id))');
