-- A grant's end is reckoned from whatever moment was said.
select pg_temp.mutate('granted-in-the-past', 'p_grant.granted_at > v_now', 'false');
