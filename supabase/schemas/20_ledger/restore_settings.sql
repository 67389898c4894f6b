/*
 * Makes the row of the project's settings where there is none: in a new project, or after it was lost.
 * It says what the project has chosen, as far as that can still be seen: the newest burn order, its caps, and,
 * where there are or were alert rules, a version that no account has, so that the next call that touches
 * an account arms it anew.
 * Never waits: a caller that finds another transaction making the row goes on without it, as before. The
 * caller may hold an account's lock, and the settings are locked before accounts: waiting here could deadlock.
 * Caller: internal.   Locks: the settings, if they can be made.
 */
create function tokenbook.restore_settings()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest bigint;
  v_version bigint;
  v_is_expiring_first boolean;
  v_has_common_caps boolean;
begin
  if pg_catalog.pg_try_advisory_xact_lock(tokenbook.settings_lock()) then
    v_newest := coalesce((select max(a.alerts_version) from public.token_accounts a), 0);
    v_version := case when v_newest > 0 or exists (select 1 from public.token_alert_rules) then v_newest + 1 else 0 end;
    v_is_expiring_first := tokenbook.is_expiring_first_at('infinity');
    v_has_common_caps := exists (select 1 from public.token_default_spend_caps);
    insert into tokenbook.project_settings (alerts_version, is_expiring_first, has_common_caps)
    values (v_version, v_is_expiring_first, v_has_common_caps)
    on conflict do nothing;
  end if;
end
$$;
comment on function tokenbook.restore_settings is
  'Makes the row of the project''s settings where there is none, from what the project has chosen; never waits.';
