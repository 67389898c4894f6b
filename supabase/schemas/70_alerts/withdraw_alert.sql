/*
 * Takes an alert back that was written in this transaction, and what was to be sent of it: no other transaction has seen it. Numbers
 * have no gaps; what was written after it, was in this transaction too.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.withdraw_alert(p_user_id uuid, p_alert_id bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_later record;
begin
  delete from public.token_alerts t where t.user_id = p_user_id and t.id = p_alert_id;
  delete from tokenbook.webhook_deliveries d where d.user_id = p_user_id and d.alert_id = p_alert_id; -- @taken-back-unsent
  for v_later in
    select t.id from public.token_alerts t
     where t.user_id = p_user_id and t.id > p_alert_id -- @alerts-have-no-gaps
     order by t.id
  loop
    update public.token_alerts t set id = v_later.id - 1
     where t.user_id = p_user_id and t.id = v_later.id;
    update tokenbook.webhook_deliveries d set alert_id = v_later.id - 1
     where d.user_id = p_user_id and d.alert_id = v_later.id;
  end loop;
end
$$;
comment on function tokenbook.withdraw_alert is
  'Takes back an alert of this transaction and what was to be sent of it; later ones move up.';
