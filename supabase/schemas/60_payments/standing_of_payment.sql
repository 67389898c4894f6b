/*
 * How a provider's payment stands, in one word: approved or refunded, once it is booked; parked, while it waits for
 * an admin; waiting, while nothing says that it was paid.
 * Caller: internal.
 */
create function tokenbook.standing_of_payment(p_facts tokenbook.provider_payments)
returns text
language plpgsql
volatile -- sees what its caller has booked
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select p.status from public.token_payments p
      where p.user_id = p_facts.user_id and p.provider = p_facts.provider
        and p.provider_payment_id = p_facts.provider_payment_id
      limit 1),
    case when p_facts.parked_reason is not null then 'parked' else 'waiting' end);
end
$$;
comment on function tokenbook.standing_of_payment is
  'How a provider''s payment stands: approved, refunded, parked or waiting.';
