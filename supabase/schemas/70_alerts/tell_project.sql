/*
 * Writes an alert of the project's own, about no user (user_id is all zeros). p_epoch is the number of the alert that it
 * ends, or what it is told once for; left out: it begins one, and its own number is the epoch. What the payload does not know
 * is left out of it.
 * Caller: internal.   Returns the alert's number.
 */
create function tokenbook.tell_project(p_kind text, p_rule text, p_payload jsonb, p_epoch bigint default null)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
  v_id constant bigint := nextval('tokenbook.project_alert_numbers');
  v_now constant timestamptz := clock_timestamp();
begin
  insert into public.token_alerts (user_id, id, kind, rule, epoch, payload, created_at)
  values
    (c_nobody, v_id, p_kind, p_rule, coalesce(p_epoch, v_id), jsonb_strip_nulls(p_payload), v_now);
  perform tokenbook.write_webhook('token_alert.' || p_kind, c_nobody, v_now, null, v_id);
  return v_id;
end
$$;
comment on function tokenbook.tell_project is
  'Writes an alert of the project''s own, about no user; returns its number.';
