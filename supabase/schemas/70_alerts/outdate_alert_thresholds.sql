/*
 * From the commit on the thresholds of every account are of older rules, and are set anew by whoever
 * touches it next: for who changes the alert rules.
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
  'Makes every account''s alert thresholds ones of older rules, to be set anew by whoever touches it next.';
