/*
 * Takes a parked payment off the list of those that wait, with a reason: it is nobody's, or it is settled elsewhere.
 * It gives nothing. It comes back, and is told of again, when something else becomes known of it. It can still be
 * assigned. Dismissing twice changes nothing. Dismissing a credit that names nothing which was paid for says that it
 * counts as money: what was paid with it and waits for that is given, twenty payments a call.
 * Caller: an admin, service_role.   Locks: the customer, then the payment's facts and those of what the credit holds,
 * then their accounts.
 * Errors: not_authenticated, forbidden, invalid_reason, payment_not_found, payment_already_decided,
 * balance_limit_exceeded, busy.   Keeps: I9, I10, I12.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.dismiss_parked_token_payment(
  p_provider text,
  p_provider_payment_id text,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_ids text[];
  v_customer_id text;
  v_held text[] := '{}';
  v_facts tokenbook.provider_payments;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  v_actor := tokenbook.authorize_operator();
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  select f.customer_id into v_customer_id
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.part_of is null
     and f.provider_payment_id = any (tokenbook.joined_payments(p_provider, array[p_provider_payment_id]));
  if v_customer_id is not null then
    perform tokenbook.lock_customer(p_provider, v_customer_id, null, null, null);
    v_held := array_remove(
      tokenbook.waiting_payments(p_provider, v_customer_id, p_provider_payment_id), p_provider_payment_id);
  end if;
  perform tokenbook.lock_provider_payment(p_provider, p_provider_payment_id, v_held);
  v_ids := tokenbook.joined_payments(p_provider, array[p_provider_payment_id]);
  select f.* into v_facts
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.provider_payment_id = any (v_ids) and f.part_of is null;
  if v_facts.provider is null then
    perform tokenbook.refuse('payment_not_found', tokenbook.say_payment_id());
  elsif v_facts.parked_reason is null then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', tokenbook.standing_of_payment(v_facts)));
  end if;
  perform tokenbook.require_here(v_facts.user_id, p_for_write => true);
  if v_facts.dismissed_at is null then
    v_at := clock_timestamp();
    update tokenbook.provider_payments f
       set dismissed_at = v_at
     where f.provider = p_provider and f.provider_payment_id = v_facts.provider_payment_id;
    perform tokenbook.record_change(
      'dismiss_parked_token_payment', v_facts.user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'provider', p_provider, 'provider_payment_id', v_facts.provider_payment_id, 'parked_reason', v_facts.parked_reason,
        'amount_cents', v_facts.amount_cents, 'currency', v_facts.currency));
  end if;
  perform tokenbook.settle_payments(p_provider, v_held, v_actor.actor_role, v_actor.actor_id);
  return jsonb_build_object(
    'success', true,
    'provider', p_provider,
    'provider_payment_id', v_facts.provider_payment_id,
    'status', 'dismissed',
    'parked_reason', v_facts.parked_reason,
    'replayed', v_facts.dismissed_at is not null);
end
$$;
comment on function tokenbook.dismiss_parked_token_payment is
  'Takes a parked payment off the list, with a reason (1 to 500 characters); it gives nothing, and comes back when something else becomes known of it. For an admin or the server. Dismissing twice changes nothing and answers replayed. Returns {success, provider, provider_payment_id, status (dismissed), parked_reason, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, forbidden, busy.';
