/*
 * From the commit on the thresholds of every account count as those of older rules, and the next call that touches
 * an account sets them anew: for functions that change the alert rules.
 * Caller: internal.   Locks: the settings.
 */
create function tokenbook.outdate_alert_thresholds()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.lock_settings();
  update tokenbook.project_settings s set alerts_version = s.alerts_version + 1 where s.is_current;
end
$$;
comment on function tokenbook.outdate_alert_thresholds is
  'Marks every account''s alert thresholds as those of older rules, to be set anew by the next call that touches it.';
