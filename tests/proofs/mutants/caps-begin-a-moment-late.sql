-- Off by one instant: what was spent at midnight itself counts for the day before.
select pg_temp.mutate('tokenbook.spend_caps_of', $$case when s.at >= date_trunc(c.spend_window, p_now, 'UTC')$$, $$case when s.at > date_trunc(c.spend_window, p_now, 'UTC')$$);
