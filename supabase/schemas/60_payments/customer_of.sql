/*
 * The customer that a user is at a payment provider; of several the one that was learned last, NULL when none
 * is known.
 * Caller: internal.
 */
create function tokenbook.customer_of(p_provider text, p_user_id uuid)
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select c.customer_id
      from tokenbook.provider_customers c
     where c.provider = p_provider and c.user_id = p_user_id
     order by c.created_at desc, c.customer_id desc
     limit 1);
end
$$;
comment on function tokenbook.customer_of is
  'The customer that a user is at a payment provider: of several the one learned last, NULL when none is known.';
