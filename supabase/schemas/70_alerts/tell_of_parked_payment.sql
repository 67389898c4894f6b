/*
 * Tells the project that a payment waits for an admin: when it is parked, and again when something else is known of
 * it, which brings back one that was dismissed too. An alert payment_parked of nobody's (user_id is all zeros). When
 * the payment is booked, under its own id or as a part of another, that is told once too: recovered, of the same
 * epoch.
 * Caller: internal, holding the facts' lock.
 */
create function tokenbook.tell_of_parked_payment(p_facts tokenbook.provider_payments)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- a moment's text must not depend on the session's time zone
as $$
declare
  v_known constant text := md5((to_jsonb(p_facts) - array['told_as', 'alert_id', 'dismissed_at', 'created_at', 'updated_at'])::text);
  v_told record;
  v_id bigint;
begin
  -- what was told of, and waits no more
  for v_told in
    update tokenbook.provider_payments f
       set alert_id = null
      from (
        select w.provider_payment_id, w.alert_id from tokenbook.provider_payments w
         where w.provider = p_facts.provider
           and p_facts.provider_payment_id in (w.provider_payment_id, w.part_of)
           and w.alert_id is not null and w.parked_reason is null) before
     where f.provider = p_facts.provider and f.provider_payment_id = before.provider_payment_id
       and p_facts.parked_reason is null -- @bookings-end-their-alert
    returning before.provider_payment_id, before.alert_id
  loop
    perform tokenbook.tell_project('recovered', 'payment_parked', jsonb_build_object(
      'provider', p_facts.provider,
      'provider_payment_id', v_told.provider_payment_id,
      'part_of', nullif(p_facts.provider_payment_id, v_told.provider_payment_id),
      'paid_by', p_facts.user_id,
      'ended_alert_id', v_told.alert_id), v_told.alert_id);
  end loop;

  if p_facts.parked_reason is null or p_facts.told_as = v_known then -- @parked-told-once
    return;
  end if;
  v_id := tokenbook.tell_project('payment_parked', 'payment_parked', jsonb_build_object(
    'provider', p_facts.provider,
    'provider_payment_id', p_facts.provider_payment_id,
    'parked_reason', p_facts.parked_reason,
    'explanation', tokenbook.explain_parking(p_facts),
    'parked_details', p_facts.parked_details,
    'price_id', p_facts.price_id,
    'customer_id', p_facts.customer_id,
    'paid_by', p_facts.user_id,
    'amount_cents', p_facts.amount_cents,
    'currency', p_facts.currency));
  update tokenbook.provider_payments f
     set told_as = v_known, alert_id = v_id, dismissed_at = null -- @dismissed-until-news
   where f.provider = p_facts.provider and f.provider_payment_id = p_facts.provider_payment_id;
end
$$;
comment on function tokenbook.tell_of_parked_payment is
  'Writes an alert of the project''s that a payment waits for an admin, again when something else is known of it, and one when it is booked.';
