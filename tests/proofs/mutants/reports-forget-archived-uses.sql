-- Of a user's own, what is archived is no use.
select pg_temp.mutate('archived-uses-count', 'a.starts_at < p_to', 'false');
