/*
 * Locks a provider's customer, made first where there is none, and learns whose they are where p_user_id says it:
 * of the provider's events the earliest that names a user counts, by when it happened, then by its event's id, though it
 * may be heard of later. What our own server or an admin has said of the customer (no event's id) stays, whatever events
 * say; an admin's assignment of a payment counts while no event names a user. Taken before any payment's lock: so a
 * payment that names its customer alone, and the event that names the customer's user, never miss each other.
 * Returns whose the customer is, NULL where nothing says it, whether that is another than before, and whose it was then.
 * Caller: internal.   Errors: busy.
 */
create function tokenbook.lock_customer(
  p_provider text,
  p_customer_id text,
  p_user_id uuid,
  p_told_at timestamptz,
  p_event_id text,
  out user_id uuid,
  out is_new boolean,
  out was_user_id uuid
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '700ms' -- twice, then twice for the payment, and the account's: together less than the statement may take
as $$
declare
  v_customer tokenbook.provider_customers;
begin
  insert into tokenbook.provider_customers (provider, customer_id) values (p_provider, p_customer_id) on conflict do nothing;
  select c.* into v_customer
    from tokenbook.provider_customers c
   where c.provider = p_provider and c.customer_id = p_customer_id
     for no key update;
  user_id := v_customer.user_id;
  is_new := false;
  if p_user_id is null
    or v_customer.user_id is not null and (v_customer.told_at, v_customer.event_id) <= (p_told_at, p_event_id) -- @first-user-counts
  then
    return;
  end if;
  update tokenbook.provider_customers c
     set user_id = p_user_id,
         told_at = case when p_event_id = '' then '-infinity' else p_told_at end, -- @said-by-us-stays
         event_id = p_event_id
   where c.provider = p_provider and c.customer_id = p_customer_id;
  user_id := p_user_id;
  is_new := p_user_id is distinct from v_customer.user_id;
  was_user_id := case when is_new then v_customer.user_id end;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_customer is
  'Locks a provider''s customer and stores whose they are; returns that user, whether this is new, and the user before.';
