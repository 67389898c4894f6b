/*
 * Tells a user what became of their subscription, once for each kind and moment (the plan's end; of a payment that
 * failed, the end of the period before).
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.tell_of_subscription(p_user_id uuid, p_kind text, p_at timestamptz, p_facts jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert public.token_alerts;
begin
  v_alert.user_id := p_user_id;
  v_alert.kind := p_kind;
  v_alert.rule := p_kind;
  v_alert.epoch := (extract(epoch from p_at) * 1000000)::bigint; -- @told-once-a-moment
  v_alert.created_at := clock_timestamp();
  v_alert.payload := p_facts;
  perform tokenbook.write_alert(v_alert);
  update public.token_accounts a
     set last_alert_id = coalesce((select max(t.id) from public.token_alerts t where t.user_id = p_user_id), 0)
   where a.user_id = p_user_id;
end
$$;
comment on function tokenbook.tell_of_subscription is
  'Writes an alert about a user''s subscription, once for each kind and moment.';
