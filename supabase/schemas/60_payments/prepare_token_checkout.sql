/*
 * Says what a checkout page at Stripe is made of: the price there and the amount here, and which customer the
 * user is. Everything is from the catalogue and the books; the caller says only what they want. Nothing is written:
 * nothing is bought until the provider says so.
 * idempotency_key is the caller's key as it is sent to the provider, of a bounded length, a user's and the server's
 * apart.
 * Caller: the user for themself, an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, invalid_purchase, user_not_found,
 * account_frozen, plan_not_found, pack_not_found, not_for_sale, trial_already_taken,
 * trial_needs_identity, already_subscribed (at PayPal).
 */
-- Security definer: nobody reads the customers themselves, and an admin reads other users' rows.
create function tokenbook.prepare_token_checkout(
  p_user_id uuid,
  p_plan_type text default null,
  p_pack_type text default null,
  p_quantity integer default 1,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile -- as tokenbook.require_active
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_offer record;
  v_price_id text;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_request(p_idempotency_key, null, null);
  perform tokenbook.check_purchase(p_plan_type, p_pack_type, p_quantity);
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  perform tokenbook.require_active(p_user_id, v_account);

  -- act
  v_offer := tokenbook.find_offer(p_plan_type, p_pack_type, p_quantity);
  if v_offer.is_offered is not true then
    perform tokenbook.refuse(
      case when p_plan_type is null then 'pack_not_found' else 'plan_not_found' end,
      jsonb_build_object('field', case when p_plan_type is null then 'p_pack_type' else 'p_plan_type' end));
  end if;
  select i.price_id into v_price_id
    from public.token_price_ids i
   where i.provider = 'stripe' and i.is_current and (i.plan_type = p_plan_type or i.pack_type = p_pack_type);
  if v_price_id is null or v_offer.amount_cents = 0 then
    perform tokenbook.refuse('not_for_sale', jsonb_build_object(
      'field', case when p_plan_type is null then 'p_pack_type' else 'p_plan_type' end,
      'rule', case when v_price_id is null then 'one that has a stripe_price_id in the catalogue' else 'one that costs something' end));
  end if;
  perform tokenbook.require_trial(p_user_id, p_plan_type);
  -- at Stripe it is Stripe that is asked, which knows it at once; of PayPal the books are all there is to ask
  if p_plan_type is not null and exists (
    select 1 from tokenbook.provider_subscriptions f
     where f.provider = 'paypal' and f.status <> 'cancelled' and (f.cancel_at <= clock_timestamp()) is not true
       and (f.user_id = p_user_id
         or f.user_id is null and f.customer_id in (
           select c.customer_id from tokenbook.provider_customers c
            where c.provider = f.provider and c.user_id = p_user_id)))
  then
    perform tokenbook.refuse('already_subscribed', '{}');
  end if;
  return jsonb_build_object(
    'user_id', p_user_id,
    'plan_type', p_plan_type,
    'pack_type', p_pack_type,
    'quantity', p_quantity,
    'price_id', v_price_id,
    'amount_cents', v_offer.amount_cents,
    'currency', v_offer.currency,
    'billing_cycle', (select p.billing_cycle from public.token_plans p where p.plan_type = p_plan_type),
    'customer_id', tokenbook.customer_of('stripe', p_user_id),
    'idempotency_key', encode(sha256(convert_to(
      p_user_id || case when v_actor.actor_role = 'user' then ':user:' else ':server:' end || p_idempotency_key, 'UTF8')), 'hex'));
end
$$;
comment on function tokenbook.prepare_token_checkout is
  'What a checkout page at Stripe is made of, for a plan (p_plan_type) or p_quantity of a pack (p_pack_type). For the user themself, an admin, or the server. Writes nothing. Returns {user_id, plan_type, pack_type, quantity, price_id (at Stripe), amount_cents (of all of them), currency, billing_cycle (of a plan; NULL = a pack), customer_id (NULL = none yet), idempotency_key (NULL without p_idempotency_key)}. Errors: invalid_purchase, invalid_idempotency_key, plan_not_found, pack_not_found, not_for_sale, trial_already_taken, trial_needs_identity, already_subscribed (at PayPal; for Stripe the checkout function asks Stripe), account_frozen, user_not_found, forbidden.';
