-- The account does not know that some of its grants pay only for some things.
select pg_temp.mutate('restricted-grants-are-noted', 'true', 'a.has_restricted_grants');
