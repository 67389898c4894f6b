/*
 * Keeps that a user is this customer at a payment provider, so that what is said there of the customer finds
 * its user. A customer is one user's for ever: whose it was first, by this or by the provider's events, stays.
 * The same again changes nothing. A payment that waits for that customer's user is settled by its next event.
 * Caller: service_role.   Locks: the customer.
 * Errors: invalid_user_id, invalid_customer, user_not_found, busy.
 */
-- Security definer: nobody may write the table themselves.
create function tokenbook.set_token_customer(p_user_id uuid, p_provider text, p_customer_id text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_user_id uuid;
  v_is_new boolean;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_provider in ('stripe', 'paypal')) is not true then
    perform tokenbook.refuse('invalid_customer', '{"field": "p_provider", "rule": "stripe or paypal"}');
  elsif octet_length(p_customer_id) > 255 or (p_customer_id ~ '^[A-Za-z0-9._:-]+$') is not true then
    perform tokenbook.refuse('invalid_customer',
      '{"field": "p_customer_id", "rule": "1 to 255 characters of A-Z a-z 0-9 . _ : -"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);

  v_is_new := tokenbook.lock_customer(p_provider, p_customer_id, p_user_id, clock_timestamp(), '');
  select c.user_id into v_user_id
    from tokenbook.provider_customers c
   where c.provider = p_provider and c.customer_id = p_customer_id;
  return jsonb_build_object(
    'success', v_user_id = p_user_id, 'user_id', v_user_id, 'provider', p_provider, 'customer_id', p_customer_id,
    'replayed', not v_is_new);
end
$$;
comment on function tokenbook.set_token_customer is
  'Keeps that a user is this customer at a payment provider (p_provider stripe or paypal). For the server. Whose a customer was first stays. Returns {success (false: the customer is another user''s), user_id (whose it is), provider, customer_id, replayed}. Errors: invalid_customer, user_not_found, busy.';
