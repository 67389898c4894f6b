/*
 * The oldest payments of a provider's customer that have no user yet, and those that a credit holds
 * (paid_with_credit) while none but p_deciding, which is being decided on, is open: of each a portion, so that no call's work grows
 * with what others have left waiting (I11).
 * Caller: internal, holding the customer's lock.
 */
create function tokenbook.waiting_payments(p_provider text, p_customer_id text, p_deciding text default null)
returns text[]
language plpgsql
volatile -- sees what was committed while its caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select f.provider_payment_id from tokenbook.provider_payments f
     where f.provider = p_provider and f.customer_id = p_customer_id and f.user_id is null
     order by f.created_at, f.provider_payment_id
     limit 20) -- @waiting-of-a-customer
  || array( -- @decided-credits-release begin
    select f.provider_payment_id from tokenbook.provider_payments f
     where f.provider = p_provider and f.customer_id = p_customer_id
       and f.from_balance_cents > 0 and f.parked_reason = 'paid_with_credit'
       and not exists (
         select 1 from tokenbook.open_credits(p_provider, p_customer_id) c
          where c.provider_payment_id is distinct from p_deciding)
     order by f.created_at, f.provider_payment_id
     limit 20); -- @decided-credits-release end
end
$$;
comment on function tokenbook.waiting_payments is
  'The oldest payments of a provider''s customer that have no user yet, at most 20, and at most 20 that a credit held which is decided.';
