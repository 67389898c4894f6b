-- Counts months in the session's time zone instead of in UTC.
select pg_temp.mutate('tokenbook.period_end', $$(p_start at time zone 'utc' + interval '1 month') at time zone 'utc'$$, $$p_start + interval '1 month'$$);
