/*
 * Computes anew what is known of a provider's payment and keeps it: in one row, to which those of its other parts
 * point. A part that was booked by itself before it was known as one keeps whose it is, so that it can be undone.
 * Caller: internal, holding the locks of these ids.   Returns the row.
 */
create function tokenbook.keep_payment_facts(p_provider text, p_ids text[])
returns tokenbook.provider_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_payments := tokenbook.facts_of_payment(p_provider, p_ids);
  v_at constant timestamptz := clock_timestamp();
  v_part record;
  v_booked_for uuid;
begin
  for v_part in
    select f.provider_payment_id as id, f.user_id
      from tokenbook.provider_payments f
     where f.provider = p_provider and f.provider_payment_id = any (p_ids)
       and f.provider_payment_id <> v_facts.provider_payment_id
  loop
    v_booked_for := (
      select p.user_id from public.token_payments p
       where p.user_id = v_part.user_id and p.provider = p_provider and p.provider_payment_id = v_part.id);
    update tokenbook.provider_payments f
       set part_of = v_facts.provider_payment_id,
           user_id = v_booked_for,
           customer_id = null, plan_type = null, pack_type = null, quantity = null, price_id = null, subscription_id = null,
           cycles_completed = null, is_paid = false,
           amount_cents = null, currency = null, from_balance_cents = null, refunded_cents = 0, disputed_cents = 0, period_start = null,
           parked_reason = null, parked_details = null, disagrees = null,
           updated_at = v_at
     where f.provider = p_provider and f.provider_payment_id = v_part.id;
  end loop;
  update tokenbook.provider_payments f
     set part_of = null,
         user_id = v_facts.user_id,
         customer_id = v_facts.customer_id,
         plan_type = v_facts.plan_type,
         pack_type = v_facts.pack_type,
         quantity = v_facts.quantity,
         price_id = v_facts.price_id,
         subscription_id = v_facts.subscription_id,
         cycles_completed = v_facts.cycles_completed,
         is_paid = v_facts.is_paid,
         amount_cents = v_facts.amount_cents,
         currency = v_facts.currency,
         from_balance_cents = v_facts.from_balance_cents,
         refunded_cents = v_facts.refunded_cents,
         disputed_cents = v_facts.disputed_cents,
         period_start = v_facts.period_start,
         parked_reason = v_facts.parked_reason,
         parked_details = v_facts.parked_details,
         disagrees = v_facts.disagrees,
         updated_at = v_at
   where f.provider = p_provider and f.provider_payment_id = v_facts.provider_payment_id
  returning f.* into v_facts;
  return v_facts;
end
$$;
comment on function tokenbook.keep_payment_facts is
  'Computes anew what is known of a provider''s payment, and keeps and returns it.';
