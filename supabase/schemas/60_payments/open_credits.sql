/*
 * The payments of a provider's customer that wait because of a credit which names nothing that was paid for (credited)
 * and which has put something into the customer's balance there: until an admin has decided on them, what is paid from
 * that balance is not known to be money.
 * Caller: internal, holding the customer's lock.
 */
create function tokenbook.open_credits(p_provider text, p_customer_id text)
returns table (provider_payment_id text, credited_at timestamptz)
language plpgsql
volatile -- sees what was committed while its caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select f.provider_payment_id,
         (select min(e.occurred_at) from tokenbook.provider_events e
           where e.provider = f.provider and e.provider_payment_id = f.provider_payment_id and e.facts ->> 'kind' = 'paid')
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.customer_id = p_customer_id
     and f.parked_reason = 'credited' and f.dismissed_at is null and f.from_balance_cents < 0;
end
$$;
comment on function tokenbook.open_credits is
  'The parked payments of a customer that put an untraceable credit into their balance, and when.';
