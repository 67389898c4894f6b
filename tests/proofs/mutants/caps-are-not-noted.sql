-- The account does not learn of a cap that is written to the table.
select pg_temp.mutate('caps-are-noted', 'set has_caps = a.has_caps');
