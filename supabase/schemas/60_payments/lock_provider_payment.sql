/*
 * Locks what is known of a provider's payment, and returns it; NULL when nothing is (with p_create
 * it is made first). Taken before the account's lock, always; waits at most three seconds, then
 * says busy.
 * Caller: internal.   Errors: busy.
 */
create function tokenbook.lock_provider_payment(
  p_provider text,
  p_provider_payment_id text,
  p_create boolean default false
)
returns tokenbook.provider_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms' -- twice, and the account's after it: together less than the statement may take
as $$
declare
  v_facts tokenbook.provider_payments;
begin
  if p_create then
    insert into tokenbook.provider_payments (provider, provider_payment_id)
    values (p_provider, p_provider_payment_id)
    on conflict do nothing;
  end if;
  select f.* into v_facts
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
     for no key update;
  return v_facts;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_provider_payment is
  'Locks the facts of a provider''s payment (at most three seconds, then busy) and returns them.';
