/*
 * Writes an event into the outbox, for each endpoint that asks for its kind, in the transaction of what it tells: a
 * rollback takes it along. Of an alert p_alert_id, of anything else p_payload, of which what is not known is left out.
 * With p_once_as it is told once under that id, however often it happens.
 * Where there are no endpoints a caller need not ask: pg_relation_size of the table is 0 then, and costs less than to
 * look into it.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.write_webhook(
  p_kind text,
  p_user_id uuid,
  p_at timestamptz,
  p_payload jsonb,
  p_alert_id bigint default null,
  p_once_as text default null
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_event_id constant text := coalesce(p_once_as, 'event_' || gen_random_uuid());
begin
  insert into tokenbook.webhook_deliveries
    (user_id, event_id, endpoint, kind, alert_id, payload, created_at, queued_at, next_attempt_at)
  select p_user_id, v_event_id, e.name, p_kind, p_alert_id, jsonb_strip_nulls(p_payload), p_at, p_at, p_at
    from tokenbook.webhook_endpoints e
   where e.is_enabled and (e.kinds is null or p_kind = any (e.kinds)) -- @told-who-asked
      on conflict do nothing;
end
$$;
comment on function tokenbook.write_webhook is
  'Writes an event into the outbox for each endpoint that asks for its kind, in the transaction of what it tells.';
