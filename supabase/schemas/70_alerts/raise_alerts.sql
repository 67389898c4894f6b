/*
 * Checks every alert rule and the top-up against a user's balance, writes the alerts, and sets the
 * account's thresholds anew, so that the next change that crosses none skips this. Called in the
 * transaction that changed the balance: a rollback takes its alerts with it.
 * p_before is the balance before the change.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.raise_alerts(p_user_id uuid, p_before bigint, p_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  -- read before the rules: rules that are newer than the number cost another look, not a missed one
  v_version bigint := (select r.alerts_version from tokenbook.project_settings r);
  v_account public.token_accounts;
  v_thresholds record;
  v_warnings record;
  v_top_up record;
  v_next_at timestamptz;
begin
  if v_version is null then
    perform tokenbook.restore_settings();
    v_version := (select r.alerts_version from tokenbook.project_settings r);
  end if;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  v_thresholds := tokenbook.cross_thresholds(v_account, p_before, p_at, v_account.alerts_version is distinct from v_version);
  v_warnings := tokenbook.warn_of_expiry(v_account, p_at);
  v_top_up := tokenbook.request_top_up(v_account, p_at);
  v_next_at := least(v_warnings.next_at, v_top_up.next_at);

  update public.token_accounts a
     set alert_below = greatest(v_thresholds.alert_below, v_top_up.alert_below),
         alert_above = least(v_thresholds.alert_above, v_top_up.alert_above),
         next_alert_at = v_next_at,
         next_due_at = least(a.next_due_at, v_next_at),
         warns_of_expiry = v_warnings.is_watching,
         alerts_version = coalesce(v_version, a.alerts_version),
         last_alert_id = coalesce((select max(t.id) from public.token_alerts t where t.user_id = p_user_id), 0),
         updated_at = p_at
   where a.user_id = p_user_id;
end
$$;
comment on function tokenbook.raise_alerts is
  'Writes the alerts that a change of the balance calls for, and sets the account''s thresholds anew; the caller holds the account''s lock.';
