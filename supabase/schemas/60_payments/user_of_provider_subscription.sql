/*
 * The user of a provider's subscription: the one that it names; else its customer's; else, where neither is known, the
 * user of its newest payment. NULL: not known yet.
 * Caller: internal.
 */
create function tokenbook.user_of_provider_subscription(p_provider text, p_provider_subscription_id text)
returns uuid
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select coalesce(f.user_id, c.user_id)
      from tokenbook.provider_subscriptions f
      left join tokenbook.provider_customers c on c.provider = f.provider and c.customer_id = f.customer_id
     where f.provider = p_provider and f.provider_subscription_id = p_provider_subscription_id), (
    select f.user_id
      from tokenbook.provider_payments f
     where f.provider = p_provider and f.subscription_id = p_provider_subscription_id and f.user_id is not null
     order by f.period_start desc nulls last
     limit 1));
end
$$;
comment on function tokenbook.user_of_provider_subscription is
  'Whose a provider''s subscription is, by its own word, its customer or its payments; NULL: nobody''s yet.';
