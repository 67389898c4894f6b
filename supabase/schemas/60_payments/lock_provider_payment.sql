/*
 * Locks what is known of a provider's payment: its row, and those of all payments that are parts of the same or
 * are named in p_parts. With p_create those that are not there are made first. Taken before the account's lock,
 * always, and in the order of their ids; waits a second and a half at most, then says busy.
 * Returns their ids; NULL when nothing is known of the payment.
 * Caller: internal.   Errors: busy.
 */
create function tokenbook.lock_provider_payment(
  p_provider text,
  p_provider_payment_id text,
  p_parts text[] default '{}',
  p_create boolean default false
)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '700ms' -- twice, as the customer's before it, and the account's after: together less than the statement may take
as $$
declare
  v_ids text[];
  v_joined text[];
begin
  if p_create then
    insert into tokenbook.provider_payments (provider, provider_payment_id)
    select p_provider, named.id from unnest(p_provider_payment_id || p_parts) as named (id) order by named.id
    on conflict do nothing;
  end if;
  v_ids := tokenbook.joined_payments(p_provider, p_provider_payment_id || p_parts);
  perform 1 from tokenbook.provider_payments f
    where f.provider = p_provider and f.provider_payment_id = any (v_ids)
    order by f.provider_payment_id
      for no key update;
  v_joined := tokenbook.joined_payments(p_provider, p_provider_payment_id || p_parts);
  if v_joined is distinct from v_ids then
    -- joined to others while this waited: those out of their order, so they are not waited for
    perform 1 from tokenbook.provider_payments f
      where f.provider = p_provider and f.provider_payment_id = any (v_joined)
        for no key update nowait;
    if tokenbook.joined_payments(p_provider, p_provider_payment_id || p_parts) is distinct from v_joined then
      perform tokenbook.refuse('busy', '{}');
    end if;
  end if;
  return v_joined;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_provider_payment is
  'Locks the facts of a provider''s payment and of its parts (at most a second and a half, then busy) and returns their ids.';
