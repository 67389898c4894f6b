-- Counts months in the session's time zone instead of in UTC.
select pg_temp.mutate('months-in-utc', $$when 'monthly' then p_start + interval '1 month'$$);
