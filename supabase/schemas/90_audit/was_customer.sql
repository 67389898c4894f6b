/*
 * Whether anybody ever said that a provider's customer is this user: the provider, in an event of a payment or of a
 * subscription; or our own server or an admin, now or before that was put right.
 * Caller: internal: functions that compare a payment that is not booked with what the provider told.   Locks: nothing.
 */
create function tokenbook.was_customer(p_provider text, p_customer_id text, p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
      select 1 from tokenbook.provider_customers c
       where c.provider = p_provider and c.customer_id = p_customer_id and c.user_id = p_user_id)
    or exists (
      select 1 from tokenbook.changes c
       where c.change = 'set_token_customer' and c.details ->> 'provider' = p_provider
         and c.details ->> 'customer_id' = p_customer_id and c.details ->> 'instead_of' = p_user_id::text)
    or exists (
      select 1 from tokenbook.provider_events e
       where e.provider = p_provider and e.facts ->> 'customer_id' = p_customer_id and (e.facts ->> 'user_id')::uuid = p_user_id)
    or exists (
      select 1 from tokenbook.provider_subscription_events e
       where e.provider = p_provider and e.facts ->> 'customer_id' = p_customer_id and (e.facts ->> 'user_id')::uuid = p_user_id);
end
$$;
comment on function tokenbook.was_customer is
  'Whether anybody ever said that a provider''s customer is this user.';
