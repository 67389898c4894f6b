-- Any entry of the moment of a void is taken for the void's.
select pg_temp.mutate('voided-by-its-own-entry', 'and t.terms ->> ''voids'' = p_grant.id::text', '');
