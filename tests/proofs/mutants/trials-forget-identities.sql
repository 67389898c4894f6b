-- Trials are remembered by account and address, not by identities at providers.
select pg_temp.mutate('trials-by-identity', 'u.id = p_user_id', 'false');
