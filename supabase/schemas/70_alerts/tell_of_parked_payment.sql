/*
 * Tells the project that a payment waits for an admin: when it is parked, and again when something else is known of
 * it, which brings back one that was dismissed too. An alert payment_parked of nobody's (user_id is all zeros).
 * Caller: internal, holding the facts' lock.
 */
create function tokenbook.tell_of_parked_payment(p_facts tokenbook.provider_payments)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- how a moment is written must not make it another
as $$
declare
  v_known constant text := md5((to_jsonb(p_facts) - array['told_as', 'dismissed_at', 'created_at', 'updated_at'])::text);
  v_id bigint;
begin
  if p_facts.parked_reason is null or p_facts.told_as = v_known then -- @parked-told-once
    return;
  end if;
  update tokenbook.provider_payments f
     set told_as = v_known, dismissed_at = null -- @dismissed-until-news
   where f.provider = p_facts.provider and f.provider_payment_id = p_facts.provider_payment_id;
  v_id := nextval('tokenbook.project_alert_numbers');
  insert into public.token_alerts (user_id, id, kind, rule, epoch, payload, created_at, next_attempt_at)
  values
    ('00000000-0000-0000-0000-000000000000', v_id, 'payment_parked', 'payment_parked', v_id,
     jsonb_strip_nulls(jsonb_build_object(
       'provider', p_facts.provider,
       'provider_payment_id', p_facts.provider_payment_id,
       'parked_reason', p_facts.parked_reason,
       'explanation', tokenbook.parked_reasons() ->> p_facts.parked_reason,
       'price_id', p_facts.price_id,
       'customer_id', p_facts.customer_id,
       'paid_by', p_facts.user_id,
       'amount_cents', p_facts.amount_cents,
       'currency', p_facts.currency)),
     clock_timestamp(), clock_timestamp());
end
$$;
comment on function tokenbook.tell_of_parked_payment is
  'Writes an alert of the project''s that a payment waits for an admin; again when something else is known of it.';
