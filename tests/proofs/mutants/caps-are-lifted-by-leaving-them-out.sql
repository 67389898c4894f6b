-- A cap that a call leaves out is taken away.
select pg_temp.mutate('caps-are-kept', 'set cap_day = excluded.cap_day, cap_week = excluded.cap_week, cap_month = excluded.cap_month,');
