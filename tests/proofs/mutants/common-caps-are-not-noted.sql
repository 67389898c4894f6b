-- The project's settings do not learn of a common cap that is written to the table.
select pg_temp.mutate('common-caps-are-noted', 'set has_common_caps = r.has_common_caps');
