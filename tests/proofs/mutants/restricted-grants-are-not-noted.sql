-- The account does not know that some of its grants pay only for some things.
select pg_temp.mutate('restricted-grants-are-noted', $$greatest(a.restricted_until, coalesce(p_until, 'infinity'))$$, 'a.restricted_until');
