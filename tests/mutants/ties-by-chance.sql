-- Leaves open which of two grants of one priority and moment is spent first.
select pg_temp.mutate('tokenbook.choose_grants', 'order by b.priority, b.granted_at, b.id', 'order by b.priority, b.granted_at, md5(b.id::text)');
select pg_temp.mutate('tokenbook.choose_grants', 'order by b.priority, b.expires_at, b.granted_at, b.id', 'order by b.priority, b.expires_at, b.granted_at, md5(b.id::text)');
select pg_temp.mutate('tokenbook.deduct_tokens_with_fifo', 'order by h.priority, h.granted_at, h.id', 'order by h.priority, h.granted_at, md5(h.id::text)');
