/*
 * Keeps that a user is this customer at a payment provider, so that what is said there of the customer finds
 * its user, and gives them what has waited for that: payments, a portion at a time, and subscriptions
 * (tokenbook.release_waiting). A customer is one user's for ever: whose it was first, by this or by the provider's
 * events, stays. The same again changes nothing, but gives the next portion.
 * p_replace is for a mistake: the customer is this user's from now on, whatever events have said or will say; what
 * was booked to the other one stays booked.
 * Caller: an admin, service_role.   Locks: the customer, then the facts of their waiting payments, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_customer, invalid_reason, user_not_found,
 * balance_limit_exceeded, busy.   Keeps: I9, I10, I12.
 */
-- Security definer: callers have no write access to the table.
create function tokenbook.set_token_customer(
  p_user_id uuid,
  p_provider text,
  p_customer_id text,
  p_replace boolean default false,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_is_replaced boolean;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_provider in ('stripe', 'paypal')) is not true then
    perform tokenbook.refuse('invalid_customer', '{"field": "p_provider", "rule": "stripe or paypal"}');
  elsif octet_length(p_customer_id) > 255 or (p_customer_id ~ '^[A-Za-z0-9._:-]+$') is not true then
    perform tokenbook.refuse('invalid_customer',
      '{"field": "p_customer_id", "rule": "1 to 255 characters of A-Z a-z 0-9 . _ : -"}');
  elsif p_replace and p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  perform tokenbook.require_here(p_user_id, p_for_write => true);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;

  -- lock
  select c.user_id into v_customer_user_id
    from tokenbook.lock_customer(p_provider, p_customer_id, null, null, null) c;
  v_is_replaced := (p_replace and v_customer_user_id <> p_user_id) is true;
  if coalesce(v_customer_user_id, p_user_id) = p_user_id or v_is_replaced then
    v_waiting := tokenbook.waiting_payments(p_provider, p_customer_id);
  end if;
  if cardinality(v_waiting) > 0 then
    perform tokenbook.lock_provider_payment(p_provider, v_waiting[1], v_waiting[2:]);
  end if;

  -- record
  if v_customer_user_id is null then -- @set-customers-stay
    select c.user_id, c.is_new into v_customer_user_id, v_is_new
      from tokenbook.lock_customer(p_provider, p_customer_id, p_user_id, clock_timestamp(), '') c;
  elsif v_is_replaced then
    update tokenbook.provider_customers c
       set user_id = p_user_id, event_id = '',
           told_at = '-infinity' -- @replaced-for-good: before whatever an event says
     where c.provider = p_provider and c.customer_id = p_customer_id;
  end if;
  if v_is_replaced or v_is_new and v_actor.actor_role = 'admin' then
    perform tokenbook.record_change(
      'set_token_customer', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'provider', p_provider, 'customer_id', p_customer_id,
        'instead_of', case when v_is_replaced then v_customer_user_id end));
  end if;

  -- act
  if v_is_new or v_is_replaced or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, p_customer_id, p_user_id, v_waiting, v_actor.actor_role, v_actor.actor_id,
      case when v_is_replaced then v_customer_user_id end);
  end if;
  return jsonb_build_object(
    'success', v_is_replaced or v_customer_user_id = p_user_id,
    'user_id', case when v_is_replaced then p_user_id else v_customer_user_id end,
    'provider', p_provider,
    'customer_id', p_customer_id,
    'payments_released', cardinality(v_waiting),
    'payments_waiting', v_still_waiting,
    'replayed', not v_is_new and not v_is_replaced);
end
$$;
comment on function tokenbook.set_token_customer is
  'Keeps that a user is this customer at a payment provider (p_provider stripe or paypal), and gives them what has waited for that: parked payments, at most 20 a call, and what is known of subscriptions. For an admin or the server. Whose a customer was first stays, unless p_replace, with a p_reason, puts a mistake right: from then on the customer is this user''s, and what was booked before stays booked. Returns {success (false: the customer is another user''s), user_id (whose it is), provider, customer_id, payments_released, payments_waiting (that the same call again gives), replayed}. Errors: invalid_customer, invalid_reason, user_not_found, balance_limit_exceeded, forbidden, busy.';
