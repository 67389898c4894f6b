-- A payment that was dismissed stays off the list, whatever becomes known of it.
select pg_temp.mutate('dismissed-until-news', 'set told_as = v_known, alert_id = v_id');
