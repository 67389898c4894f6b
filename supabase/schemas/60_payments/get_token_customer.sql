/*
 * Says which customer a user is at a payment provider: what the customer portal is opened for. A frozen
 * account has one too: a payer may always end what they pay for.
 * Caller: the user for themself, an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_customer, user_not_found.
 */
-- Security definer: nobody reads the table themselves.
create function tokenbook.get_token_customer(p_user_id uuid, p_provider text default 'stripe')
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if (p_provider in ('stripe', 'paypal')) is not true then
    perform tokenbook.refuse('invalid_customer', '{"field": "p_provider", "rule": "stripe or paypal"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  return jsonb_build_object(
    'user_id', p_user_id, 'provider', p_provider, 'customer_id', tokenbook.customer_of(p_provider, p_user_id));
end
$$;
comment on function tokenbook.get_token_customer is
  'Which customer a user is at a payment provider (p_provider stripe or paypal). For the user themself, an admin, or the server. Returns {user_id, provider, customer_id (NULL = none is known)}. Errors: invalid_customer, user_not_found, forbidden.';
